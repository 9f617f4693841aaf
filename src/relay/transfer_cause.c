#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

#include "transfer.h"

/* What a user can do about a certificate, by OpenSSL's verification result. */
static const char *certificate_advice(CURL *easy)
{
    long verified = 0;
    curl_easy_getinfo(easy, CURLINFO_SSL_VERIFYRESULT, &verified);
    switch (verified) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return "; if its authority is your own, log in with --ca-file";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "; see whether the clocks are right";
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "; it has to be renewed at the relay";
    default:
        return "";
    }
}

static void tell_tls_cause(struct rb_transfer *transfer, CURLcode result, char *ret, size_t room)
{
    const char *file = transfer->exchange->ca_file, *error = transfer->error;
    if (result == CURLE_SSL_CACERT_BADFILE)
        snprintf(ret, room, "no certificates can be read from %s", file ? file : "the system's file of authorities");
    else if (result == CURLE_PEER_FAILED_VERIFICATION)
        snprintf(ret, room, "%s%s", error, certificate_advice(transfer->easy));
    else if (strstr(error, "wrong version number"))
        snprintf(ret, room, "what answers there does not speak TLS; see whether port and https:// are right");
    else if (!error[0] || strstr(error, "SYSCALL") || strstr(error, "unexpected eof"))
        snprintf(ret, room, "the connection was closed during the TLS handshake");
    else
        snprintf(ret, room, "%s", error);
}

/* Broken off after the request may have left: how far the answer had come. */
static const char *broken_off(const struct rb_transfer *transfer)
{
    return transfer->header_bytes ? "the answer was cut short" : "the connection was closed without an answer";
}

/* NULL: libcurl's own words will do. */
static const char *cause_after_sending(const struct rb_transfer *transfer, CURLcode result)
{
    switch (result) {
    case CURLE_ABORTED_BY_CALLBACK:
    case CURLE_SEND_FAIL_REWIND:
    case CURLE_GOT_NOTHING:
        return "the connection was closed without an answer";
    case CURLE_PARTIAL_FILE:
        return "the answer was cut short";
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_UNRECOVERABLE_POLL:
        return broken_off(transfer);
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return "what answers there does not speak HTTP; see whether port and scheme of the URL are right";
    default:
        return NULL;
    }
}

void rb_transfer_cause(struct rb_transfer *transfer, CURLcode result, char *ret, size_t room)
{
    long error = 0;
    const char *cause = transfer->attempts > 0 ? cause_after_sending(transfer, result) : NULL;
    if (transfer->exchange->too_long)
        cause = "it has more bytes than this call may get";
    else if (transfer->header_too_long)
        cause = "the headers of the answer are too long";
    else if (rb_str_failed(&transfer->answer))
        cause = "out of memory";
    else if (result == CURLE_COULDNT_CONNECT &&
             curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &error) == CURLE_OK && error > 0)
        cause = strerrordesc_np((int)error);
    if (!cause && (result == CURLE_SSL_CONNECT_ERROR || result == CURLE_SSL_CACERT_BADFILE ||
                   result == CURLE_PEER_FAILED_VERIFICATION))
        tell_tls_cause(transfer, result, ret, room);
    else
        snprintf(ret, room, "%s", cause ? cause : transfer->error[0] ? transfer->error : curl_easy_strerror(result));
}
