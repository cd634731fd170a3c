"""What each of the three clients refuses: XDS.md §3.C, beside what grpcio and Envoy do."""

import pytest
from differences import clusters
from refusals import ACK, NACK, TABLES
from resources import CDS, LDS, SHORT, cluster, listener, route, route_configuration, virtual_host
from spoke_xds import NAME, memory, resource, wait_for_resource


def verdicts(clients, case, kind):
    """Sends a case; what each client answers, and the text of Spoke's."""
    clients.plane.set(*case.resources())
    found, text = {}, ""
    for key, node, client in (
        ("grpcio", "grpcio", clients.grpcio), ("envoy", "envoy", clients.envoy), ("spoke", "board-1", clients.line),
    ):
        if client is None or getattr(case, key) is None:
            continue
        answer = clients.plane.wait_for_answer(kind, node=node)
        found[key] = NACK if answer.is_nack else ACK
        if key == "spoke" and answer.is_nack:
            assert answer.message.error_detail.code == 3
            text = answer.error
    return found, text


def good(clients):
    """What everything goes back to after a case."""
    return [listener(NAME), route_configuration("routes", virtual_host(route("c1"))), *clusters(clients.upstream.port, 2)]


@pytest.mark.parametrize("which", TABLES)
def test_items_38_to_44_each_client_refuses_what_the_table_says_and_keeps_the_last_good_one(make_clients, which):
    kind, cases = TABLES[which]
    clients = make_clients(route_configuration("routes", virtual_host(route("c1"))))
    plane = clients.plane
    wrong = []
    for case in cases:
        # Every case starts from what is good, acknowledged by all.
        plane.set(*good(clients))
        clients.wait_for_acks(*([LDS] if clients.envoy is None else []))
        before = plane.version(kind)
        found, text = verdicts(clients, case, kind)
        expected = {key: getattr(case, key) for key in found}
        if found != expected:
            wrong.append((case.about, found, "expected", expected, text))
        missing = [word for word in case.says if word not in text]
        if found.get("spoke") == NACK and missing:
            wrong.append((case.about, "is not named:", missing, text))
        if found.get("spoke") == NACK and case.has_name:
            name = NAME if kind == LDS else "routes" if which == "routes" else "c1"
            entry = resource(clients.line.spoke, kind, name)
            if (entry.state, entry.version) != ("NACKED", before) or entry.error_version != plane.version(kind):
                wrong.append((case.about, entry))
    assert not wrong, "\n".join(map(str, wrong))
    assert memory(clients.line.spoke) < 14 * 1024
