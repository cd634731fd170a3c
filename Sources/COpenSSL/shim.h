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
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // Sessions are kept by us, from the callback: OpenSSL's own store serves servers.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
}
static inline void spoke_SSL_CTX_set_small_buffers(SSL_CTX *context, int fragment) {
  SSL_CTX_set_max_send_fragment(context, fragment);
  SSL_CTX_set_read_ahead(context, 0);
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

// Whether a handshake waits to write rather than to read.
static inline int spoke_SSL_wants_write(const void *session) {
  return SSL_want_write((const SSL *)session);
}
static inline int spoke_SSL_is_handshaking(const void *session) {
  return !SSL_is_init_finished((const SSL *)session);
}

// Answers a question of OSSL_STORE for a passphrase or a PIN in the same way.
static inline int spoke_refuse_prompt(UI *ui, UI_STRING *question) {
  (void)question;
  int *asked = (int *)UI_get0_user_data(ui);
  if (asked) *asked = 1;
  return -1;
}

// The first private key behind an OSSL_STORE URI (`pkcs11:...`, `handle:...`), or NULL with the
// reason on the error queue.
static inline EVP_PKEY *spoke_load_key_from_store(const char *uri, int *asked) {
  UI_METHOD *prompts = UI_create_method("none");
  EVP_PKEY *key = NULL;
  if (!prompts) return NULL;
  UI_method_set_reader(prompts, spoke_refuse_prompt);
  OSSL_STORE_CTX *store = OSSL_STORE_open(uri, prompts, asked, NULL, NULL);
  if (store) OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY);
  while (store && !key && !OSSL_STORE_eof(store)) {
    OSSL_STORE_INFO *entry = OSSL_STORE_load(store);
    if (!entry && OSSL_STORE_error(store)) break;
    if (entry && OSSL_STORE_INFO_get_type(entry) == OSSL_STORE_INFO_PKEY)
      key = OSSL_STORE_INFO_get1_PKEY(entry);
    OSSL_STORE_INFO_free(entry);
  }
  if (store) OSSL_STORE_close(store);
  UI_destroy_method(prompts);
  return key;
}

// The certificates of a context by number, NULL behind the last one: its own chain, leaf first, and
// the authorities that it trusts. They belong to the context.
static inline X509 *spoke_chain_certificate(SSL_CTX *context, int number) {
  STACK_OF(X509) *others = NULL;
  if (number == 0) return SSL_CTX_get0_certificate(context);
  SSL_CTX_get0_chain_certs(context, &others);
  return number <= sk_X509_num(others) ? sk_X509_value(others, number - 1) : NULL;
}
static inline X509 *spoke_authority_certificate(SSL_CTX *context, int number) {
  STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
  for (int index = 0; index < sk_X509_OBJECT_num(objects); index++) {
    X509 *certificate = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, index));
    if (certificate && number-- == 0) return certificate;
  }
  return NULL;
}

// Takes over trust, certificate and key of another context. Sessions that exist keep what they have.
static inline int spoke_SSL_CTX_adopt(SSL_CTX *context, SSL_CTX *from) {
  STACK_OF(X509) *chain = NULL;
  X509 *certificate = SSL_CTX_get0_certificate(from);
  SSL_CTX_set1_cert_store(context, SSL_CTX_get_cert_store(from));
  if (!certificate) return 1;
  SSL_CTX_get0_chain_certs(from, &chain);
  return SSL_CTX_use_cert_and_key(context, certificate, SSL_CTX_get0_privatekey(from), chain, 1);
}

// The alternative names of a certificate; free them with GENERAL_NAMES_free. One name by number:
// its kind (GEN_DNS, GEN_URI, GEN_EMAIL, GEN_IPADD) and bytes; NULL behind the last one.
static inline GENERAL_NAMES *spoke_alternative_names(const X509 *certificate) {
  return (GENERAL_NAMES *)X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
}
static inline const unsigned char *spoke_alternative_name(const GENERAL_NAMES *names, int number,
                                                          int *kind, int *count) {
  if (!names || number >= sk_GENERAL_NAME_num(names)) return NULL;
  const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, number);
  *kind = name->type;
  int is_text = name->type == GEN_DNS || name->type == GEN_URI || name->type == GEN_EMAIL;
  if (!is_text && name->type != GEN_IPADD) return *count = 0, (const unsigned char *)"";
  *count = ASN1_STRING_length(name->d.ia5);  // the union's string types are one type
  return ASN1_STRING_get0_data(name->d.ia5);
}
#endif
