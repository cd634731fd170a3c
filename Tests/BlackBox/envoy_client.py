"""Envoy as a client of the control plane: its listener on loopback takes HTTP/1.1, its routes, clusters and endpoints
come over ADS."""

import http.client

from servers import Envoy
from waiting import wait_until


class EnvoyClient(Envoy):
    name = "envoy-client"

    def __init__(self, folder, plane, routes="routes", transport="sotw", node="envoy"):
        self.plane, self.routes, self.transport, self.node = plane, routes, transport, node
        super().__init__(folder, None, False)

    def configure(self):
        self.write("envoy.yaml", f"""
node: {{ id: {self.node}, cluster: boards, locality: {{ zone: z }} }}
admin: {{ address: {{ pipe: {{ path: {self.folder}/admin, mode: 384 }} }} }}
dynamic_resources:
  cds_config: {{ ads: {{}}, resource_api_version: V3 }}
  ads_config:
    api_type: {"DELTA_GRPC" if self.transport == "delta" else "GRPC"}
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{{ envoy_grpc: {{ cluster_name: control_plane }} }}]
layered_runtime:
  layers:
  - name: rtds
    rtds_layer: {{ name: runtime, rtds_config: {{ ads: {{}}, resource_api_version: V3, initial_fetch_timeout: 0.1s }} }}
static_resources:
  listeners:
  - name: in
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {self.port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          rds:
            route_config_name: {self.routes}
            config_source: {{ ads: {{}}, resource_api_version: V3 }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
  clusters:
  - name: control_plane
    connect_timeout: 2s
    type: STATIC
    load_assignment:
      cluster_name: control_plane
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {self.plane.port} }} }} }}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ http2_protocol_options: {{}} }}
""")

    def listens(self):
        assert self.process.poll() is None, f"envoy ended: {self.text[-3000:]}"
        return '"state"' in self.operator("/server_info")

    def wait_until_live(self, seconds=60):
        """Until what it waits for at its start has come, or did not within the fetch timeout."""
        wait_until(lambda: '"state": "LIVE"' in self.operator("/server_info"), lambda: self.text[-2000:], seconds)
        wait_until(super().listens, "envoy's listener", seconds)

    def request(self, authority, path, headers=(), method="POST", body=b""):
        """Status and headers of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in [("host", authority), ("content-length", str(len(body))), *headers]:
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            response.read()
            return response.status, dict(response.getheaders())
        finally:
            connection.close()

    def stat(self, name):
        text = self.operator(f"/stats?filter=^{name.replace('.', '[.]')}$")
        return int(text.rpartition(": ")[2]) if ": " in text else 0
