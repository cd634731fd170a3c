#ifndef SPOKE_COPENSSL_SHIM_H
#define SPOKE_COPENSSL_SHIM_H
// OpenSSL's headers, and its macros as functions: Swift imports functions only.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static inline long spoke_SSL_CTX_set_min_proto_version(SSL_CTX *context, int version) {
  return SSL_CTX_set_min_proto_version(context, version);
}
#endif
