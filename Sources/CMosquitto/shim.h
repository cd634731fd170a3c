#ifndef SPOKE_CMOSQUITTO_SHIM_H
#define SPOKE_CMOSQUITTO_SHIM_H
#include <mosquitto.h>
#include <stddef.h>

// Acknowledgements are queued instead of sent from within mosquitto_loop_read, and leave with
// mosquitto_loop_write: libmosquitto does that for a client that another thread may write for.
static inline int spoke_mosquitto_hold_writes(struct mosquitto *client) {
  return mosquitto_threaded_set(client, 1);
}

// Our own TLS context as it is, without libmosquitto's settings over it.
static inline int spoke_mosquitto_use_tls(struct mosquitto *client, void *context) {
  int answer = mosquitto_void_option(client, MOSQ_OPT_SSL_CTX, context);
  return answer ? answer : mosquitto_int_option(client, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
}
static inline int spoke_mosquitto_no_delay(struct mosquitto *client) {
  return mosquitto_int_option(client, MOSQ_OPT_TCP_NODELAY, 1);
}
#endif
