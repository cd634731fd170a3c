#ifndef SPOKE_COPENSSL_SHIM_H
#define SPOKE_COPENSSL_SHIM_H
// OpenSSL's headers, and its macros as functions: Swift imports functions only.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/store.h>
#include <openssl/ui.h>
#include <openssl/x509v3.h>

static inline long spoke_SSL_CTX_set_min_proto_version(SSL_CTX *context, int version) {
  return SSL_CTX_set_min_proto_version(context, version);
}
static inline void spoke_SSL_CTX_set_modes(SSL_CTX *context) {
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_RELEASE_BUFFERS);
}
static inline void spoke_SSL_CTX_set_strict_options(SSL_CTX *context) {
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
}
static inline long spoke_SSL_set_server_name(SSL *session, const char *name) {
  return SSL_set_tlsext_host_name(session, name);
}

// Answers every question for a passphrase with "no": OpenSSL's own callback would ask on the
// terminal, and a daemon would hang there. `asked` becomes 1, for the message.
static inline int spoke_refuse_passphrase(char *buffer, int size, int writing, void *asked) {
  (void)buffer, (void)size, (void)writing;
  if (asked) *(int *)asked = 1;
  return -1;
}
static inline void spoke_SSL_CTX_refuse_passphrases(SSL_CTX *context, int *asked) {
  SSL_CTX_set_default_passwd_cb(context, spoke_refuse_passphrase);
  SSL_CTX_set_default_passwd_cb_userdata(context, asked);
}

// For a library that makes its sessions itself (libmosquitto): whom the certificate must be for, and
// what it was refused for. It lives as long as the context does.
struct spoke_tls_expectation {
  char name[256];
  int is_address;
  int verify_error;  // an X509_V_ERR, 0 for none
};

static inline int spoke_note_verification(int accepted, X509_STORE_CTX *store) {
  SSL *session = (SSL *)X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
  struct spoke_tls_expectation *expected =
      (struct spoke_tls_expectation *)SSL_CTX_get_app_data(SSL_get_SSL_CTX(session));
  if (!accepted) expected->verify_error = X509_STORE_CTX_get_error(store);
  return accepted;
}

// At the start of a handshake, before the ClientHello: the name that the library would send is the
// address that it was told to connect to.
static inline void spoke_correct_server_name(const SSL *session, int where, int result) {
  (void)result;
  if (!(where & SSL_CB_HANDSHAKE_START)) return;
  const struct spoke_tls_expectation *expected =
      (const struct spoke_tls_expectation *)SSL_CTX_get_app_data(SSL_get_SSL_CTX(session));
  SSL_set_tlsext_host_name((SSL *)session, expected->is_address ? NULL : expected->name);
}

// 1 when every session of the context will verify the certificate for the expected name.
static inline int spoke_SSL_CTX_expect(SSL_CTX *context, struct spoke_tls_expectation *expected) {
  X509_VERIFY_PARAM *parameters = SSL_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  int taken = expected->is_address ? X509_VERIFY_PARAM_set1_ip_asc(parameters, expected->name)
                                   : X509_VERIFY_PARAM_set1_host(parameters, expected->name, 0);
  SSL_CTX_set_app_data(context, expected);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, spoke_note_verification);
  SSL_CTX_set_info_callback(context, spoke_correct_server_name);
  return expected->name[0] != 0 && taken == 1;
}

// Whether a handshake waits to write rather than to read.
static inline int spoke_SSL_wants_write(const void *session) {
  return SSL_want_write((const SSL *)session);
}
static inline int spoke_SSL_is_handshaking(const void *session) {
  return !SSL_is_init_finished((const SSL *)session);
}

// The first private key behind an OSSL_STORE URI (`pkcs11:…`, `handle:…`), or NULL with the reason
// on the error queue. UI_null answers no question.
static inline EVP_PKEY *spoke_load_key_from_store(const char *uri) {
  OSSL_STORE_CTX *store = OSSL_STORE_open(uri, UI_null(), NULL, NULL, NULL);
  EVP_PKEY *key = NULL;
  if (!store) return NULL;
  while (!key && !OSSL_STORE_eof(store)) {
    OSSL_STORE_INFO *entry = OSSL_STORE_load(store);
    if (!entry) {
      if (OSSL_STORE_error(store)) break;
      continue;
    }
    if (OSSL_STORE_INFO_get_type(entry) == OSSL_STORE_INFO_PKEY)
      key = OSSL_STORE_INFO_get1_PKEY(entry);
    OSSL_STORE_INFO_free(entry);
  }
  OSSL_STORE_close(store);
  return key;
}
#endif
