// Setting OpenSSL up: versions, ciphers, trust, certificates, tickets. See context.h.
#include <rill/net/tls/context.h>

#include <cstring>
#include <ctime>
#include <new>
#include <span>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <rill/net/tls/context_state.h>
#include <rill/net/tls/engine.h>
#include <rill/net/tls/error.h>
#include <rill/runtime/error.h>
#include <rill/runtime/file.h>
#include <rill/runtime/loop.h>

namespace rill::tls {
namespace detail {
namespace {

/// A chain of a hundred certificates fits.
constexpr std::size_t pem_size_max = std::size_t{1} << 20;

/// TLS 1.2: forward secrecy and authenticated encryption only (RFC 9325 section 4.2).
constexpr const char* ciphers_of_1_2 =
    "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!PSK";
/// 112 bits: RSA of 2,048 bits or more, no SHA-1 (SSL_CTX_set_security_level(3)).
constexpr int security_level = 2;

[[noreturn]] void refuse(std::error_code why, const char* operation, std::string_view subject) {
  throw io_error(why, operation, subject);
}

/// Throws unless OpenSSL says that it has worked.
void check(bool worked, const char* operation) {
  if (!worked) refuse(take_error(tls_error::bad_options), operation, {});
}

int refuse_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

key_ptr parse_key(std::string_view pem, std::string_view name) {
  bool is_encrypted = false;
  const bio_ptr from = reader_of(pem);
  key_ptr key(PEM_read_bio_PrivateKey(from.get(), nullptr, refuse_passphrase, &is_encrypted));
  ERR_clear_error();  // it may say which keys were tried
  if (!key) {
    refuse(is_encrypted ? tls_error::key_encrypted : tls_error::bad_key_file, "load key", name);
  }
  return key;
}

/// Calls `take` with each certificate in the text.
template <class Take>
void parse_certificates(std::string_view pem, std::string_view name, Take take) {
  const bio_ptr from = reader_of(pem);
  std::size_t count = 0;
  ERR_clear_error();
  while (x509_ptr next{PEM_read_bio_X509(from.get(), nullptr, refuse_passphrase, nullptr)}) {
    take(std::move(next));
    ++count;
  }
  const unsigned long last = ERR_peek_last_error();
  ERR_clear_error();
  const bool is_end =
      ERR_GET_LIB(last) == ERR_LIB_PEM && ERR_GET_REASON(last) == PEM_R_NO_START_LINE;
  if (count == 0 || !is_end) refuse(tls_error::bad_certificate_file, "load certificate", name);
}

shared_certificate parse_pair(std::string_view chain_pem, std::string_view key_pem,
                              std::string_view chain_name, std::string_view key_name) {
  auto made = std::make_shared<certificate_state>();
  made->chain.reset(sk_X509_new_null());
  if (!made->chain) throw std::bad_alloc();
  parse_certificates(chain_pem, chain_name, [&](x509_ptr next) {
    if (!made->own) {
      made->own = std::move(next);
    } else if (X509_add_cert(made->chain.get(), next.get(), X509_ADD_FLAG_UP_REF) != 1) {
      throw std::bad_alloc();
    }
  });
  made->key = parse_key(key_pem, key_name);
  if (X509_check_private_key(made->own.get(), made->key.get()) != 1) {
    ERR_clear_error();
    refuse(tls_error::key_mismatch, "load key", key_name);
  }
  return made;
}

/// A key in memory that is overwritten in the end.
class secret_text {
 public:
  explicit secret_text(std::string text) noexcept : text_(std::move(text)) {}
  secret_text(const secret_text&) = delete;
  secret_text& operator=(const secret_text&) = delete;
  ~secret_text() { OPENSSL_cleanse(text_.data(), text_.size()); }
  std::string_view view() const noexcept { return text_; }

 private:
  std::string text_;
};

task<shared_certificate> read_pair(std::string chain_path, std::string key_path) {
  const std::string chain = co_await read_file(chain_path, pem_size_max);
  std::string key_pem = co_await read_file(key_path, pem_size_max);
  const secret_text key(std::move(key_pem));
  co_return parse_pair(chain, key.view(), chain_path, key_path);
}

int number_of(version each) { return each == version::tls1_2 ? TLS1_2_VERSION : TLS1_3_VERSION; }

/// Names with their lengths before them (RFC 7301 section 3.1).
std::string wire_protocols(const std::vector<std::string>& names) {
  std::string wire;
  for (const std::string& name : names) {
    if (name.empty() || name.size() > 255) refuse(tls_error::bad_options, "set up TLS", name);
    wire += static_cast<char>(name.size());
    wire += name;
  }
  return wire;
}

ssl_ctx_ptr make_context(const SSL_METHOD* method, version least, version most) {
  constexpr const char* operation = "set up TLS";
  // The keys of tickets are drawn here.
  loop* const here = loop::current_or_null();
  if (here != nullptr && is_simulated(here->kernel())) use_simulated_randomness();
  ssl_ctx_ptr made(SSL_CTX_new(method));
  if (!made) throw std::bad_alloc();
  SSL_CTX* const on = made.get();
  if (least > most) refuse(tls_error::bad_options, operation, "version_min above version_max");
  check(SSL_CTX_set_min_proto_version(on, number_of(least)) == 1, operation);
  check(SSL_CTX_set_max_proto_version(on, number_of(most)) == 1, operation);
  check(SSL_CTX_set_cipher_list(on, ciphers_of_1_2) == 1, operation);
  char groups[] = "X25519:P-256:P-384";  // the macro casts const away, of which clang warns
  check(SSL_CTX_set1_groups_list(on, groups) == 1, operation);
  SSL_CTX_set_security_level(on, security_level);
  SSL_CTX_set_options(on, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  // An idle connection keeps no record buffers, about 34 KiB.
  SSL_CTX_set_mode(on, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
  return made;
}

void use_certificate(SSL_CTX* on, const certificate_state& own) {
  check(SSL_CTX_use_cert_and_key(on, own.own.get(), own.key.get(), own.chain.get(), 1) == 1,
        "use certificate");
}

void trust(SSL_CTX* on, std::string_view pem, bool name_to_clients) {
  X509_STORE* const store = SSL_CTX_get_cert_store(on);
  parse_certificates(pem, "of the authorities", [&](x509_ptr each) {
    check(X509_STORE_add_cert(store, each.get()) == 1, "trust certificate");
    if (name_to_clients) check(SSL_CTX_add_client_CA(on, each.get()) == 1, "trust certificate");
  });
  // An authority below the root may be trusted by itself, without its root.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
}

int session_came(SSL* connection, SSL_SESSION* session) {
  engine::of(connection).keep_session(session);
  return 1;  // it is ours now
}

// ---------------------------------------------------------------- callbacks of a server

int choose_certificate(SSL* connection, int* alert, void* of) {
  const auto& mine = *static_cast<const server_generation*>(of);
  const char* const name = SSL_get_servername(connection, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  bool found = false;
  for (const shared_certificate& each : mine.certificates) {
    if (X509_check_host(each->own.get(), name, std::strlen(name),
                        X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, nullptr) != 1) {
      continue;
    }
    if (!found) SSL_certs_clear(connection);
    found = true;
    if (SSL_use_cert_and_key(connection, each->own.get(), each->key.get(), each->chain.get(), 1) !=
        1) {
      *alert = SSL_AD_INTERNAL_ERROR;
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
  }
  ERR_clear_error();
  if (found) return SSL_TLSEXT_ERR_OK;
  if (!mine.refuse_unknown_names) return SSL_TLSEXT_ERR_NOACK;
  *alert = SSL_AD_UNRECOGNIZED_NAME;
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int choose_protocol(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* from,
                    unsigned from_size, void* of) {
  const std::string& mine = static_cast<const server_generation*>(of)->protocols;
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, size, reinterpret_cast<const unsigned char*>(mine.data()),
                            static_cast<unsigned>(mine.size()), from,
                            from_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;  // no_application_protocol (RFC 7301 section 3.2)
  }
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

int use_ticket_key(SSL* connection, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                   EVP_MAC_CTX* mac, int seals) {
  const void* const of = SSL_CTX_get_app_data(SSL_get_SSL_CTX(connection));
  ticket_keys& keys = static_cast<const server_generation*>(of)->tickets;
  const std::int64_t now = engine::of(connection).seam().now();
  if (seals == 1) return keys.seal(name, iv, cipher, mac, now);
  const int found = keys.open(name, iv, cipher, mac, now);
  // A ticket of TLS 1.3 is good once, so its client gets another.
  constexpr int renew = 2;
  return found == 1 && SSL_version(connection) == TLS1_3_VERSION ? renew : found;
}

// Tickets hold a time, and OpenSSL asks the system's clock for it. In a simulated world they are
// stamped and judged by the world's clock instead, so that they replay and expire.

int stamp_ticket(SSL* connection, void*) {
  kernel& seam = engine::of(connection).seam();
  if (is_simulated(seam)) {
    SSL_SESSION_set_time(SSL_get_session(connection), static_cast<long>(wall_seconds(seam)));
  }
  return 1;
}

SSL_TICKET_RETURN judge_ticket(SSL* connection, SSL_SESSION* session, const unsigned char*,
                               std::size_t, SSL_TICKET_STATUS status, void*) {
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  kernel& seam = engine::of(connection).seam();
  if (is_simulated(seam)) {
    const std::int64_t age = wall_seconds(seam) - SSL_SESSION_get_time(session);
    if (age > SSL_SESSION_get_timeout(session)) return SSL_TICKET_RETURN_IGNORE_RENEW;
    SSL_SESSION_set_time(session, static_cast<long>(std::time(nullptr)));
  }
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

}  // namespace

client_state::client_state(const client_options& options, const certificate_state* own)
    : verify(options.verify),
      sessions(options.session_count_max),
      context(make_context(TLS_client_method(), options.version_min, options.version_max)) {
  SSL_CTX* const on = context.get();
  SSL_CTX_set_verify(on, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (verify && options.system_authorities) {
    check(SSL_CTX_set_default_verify_paths(on) == 1, "trust the system's authorities");
  }
  if (!options.authorities_pem.empty()) trust(on, options.authorities_pem, false);
  if (own != nullptr) use_certificate(on, *own);
  const std::string protocols = wire_protocols(options.protocols);
  if (!protocols.empty()) {
    check(SSL_CTX_set_alpn_protos(on, reinterpret_cast<const unsigned char*>(protocols.data()),
                                  static_cast<unsigned>(protocols.size())) == 0,
          "set up TLS");
  }
  // Sessions are kept here, by host and by the seam's clock; OpenSSL's own list knows neither.
  SSL_CTX_set_session_cache_mode(on, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(on, session_came);
}

server_generation::server_generation(const server_options& options,
                                     std::vector<shared_certificate> all)
    : certificates(std::move(all)),
      protocols(wire_protocols(options.protocols)),
      refuse_unknown_names(options.refuse_unknown_names),
      tickets(options.ticket_key_interval),
      context(make_context(TLS_server_method(), options.version_min, options.version_max)) {
  SSL_CTX* const on = context.get();
  if (options.ticket_key_interval <= std::chrono::nanoseconds(0)) {
    refuse(tls_error::bad_options, "set up TLS", "ticket_key_interval is not positive");
  }
  use_certificate(on, *certificates.front());
  SSL_CTX_set_options(on, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_tlsext_servername_callback(on, choose_certificate);
  SSL_CTX_set_tlsext_servername_arg(on, this);
  if (!protocols.empty()) SSL_CTX_set_alpn_select_cb(on, choose_protocol, this);

  if (options.clients != client_certificates::none) {
    trust(on, options.client_authorities_pem, true);
    const int required =
        options.clients == client_certificates::required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(on, SSL_VERIFY_PEER | required, nullptr);
  }

  // Nothing is kept here: a session is in its ticket.
  SSL_CTX_set_session_cache_mode(on, SSL_SESS_CACHE_OFF);
  constexpr unsigned char name[] = "rill";
  check(SSL_CTX_set_session_id_context(on, name, sizeof(name)) == 1, "set up TLS");
  SSL_CTX_set_session_ticket_cb(on, stamp_ticket, judge_ticket, nullptr);
  SSL_CTX_set_app_data(on, this);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(on, use_ticket_key);
  if (!options.tickets) {
    SSL_CTX_set_options(on, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(on, 0);
  }
}

server_state::server_state(const server_options& made_with, source first) : options(made_with) {
  sources.push_back(std::move(first));
  generation = generation_of(sources);
}

std::shared_ptr<const server_generation> server_state::current() {
  const std::lock_guard held(lock);
  return generation;
}

std::shared_ptr<const server_generation> server_state::generation_of(
    const std::vector<source>& all) const {
  std::vector<shared_certificate> certificates;
  certificates.reserve(all.size());
  for (const source& each : all) certificates.push_back(each.certificate);
  return std::make_shared<const server_generation>(options, std::move(certificates));
}

namespace {

task<> read_again(std::shared_ptr<server_state> state) {
  std::vector<server_state::source> fresh;
  {
    const std::lock_guard held(state->lock);
    fresh = state->sources;
  }
  for (server_state::source& each : fresh) {
    if (each.chain_path.empty()) continue;
    each.certificate = co_await read_pair(each.chain_path, each.key_path);
  }
  // Others may have been added meanwhile: only what was read is put in its place.
  state->update([&](std::vector<server_state::source>& all) {
    for (server_state::source& each : all) {
      for (const server_state::source& read : fresh) {
        if (!each.chain_path.empty() && each.chain_path == read.chain_path &&
            each.key_path == read.key_path) {
          each.certificate = read.certificate;
        }
      }
    }
  });
}

task<> read_another(std::shared_ptr<server_state> state, std::string chain_path,
                    std::string key_path) {
  const shared_certificate made = co_await read_pair(chain_path, key_path);
  state->update([&](std::vector<server_state::source>& all) {
    all.push_back({made, std::move(chain_path), std::move(key_path)});
  });
}

}  // namespace
}  // namespace detail

certificate::certificate(std::shared_ptr<const detail::certificate_state> state) noexcept
    : state_(std::move(state)) {}

certificate certificate::parse(std::string_view chain_pem, std::string_view key_pem) {
  return certificate(detail::parse_pair(chain_pem, key_pem, "from memory", "from memory"));
}

task<certificate> certificate::from_files(std::string chain_path, std::string key_path) {
  detail::shared_certificate made = co_await detail::read_pair(chain_path, key_path);
  co_return certificate(std::move(made));
}

client_context::client_context(const client_options& options)
    : state_(std::make_shared<detail::client_state>(options, nullptr)) {}

client_context::client_context(const client_options& options, const certificate& own)
    : state_(std::make_shared<detail::client_state>(options, own.state_.get())) {}

std::size_t client_context::session_count() const { return state_->sessions.size(); }

server_context::server_context(std::shared_ptr<detail::server_state> state) noexcept
    : state_(std::move(state)) {}

server_context::server_context(const certificate& first, const server_options& options)
    : state_(std::make_shared<detail::server_state>(
          options, detail::server_state::source{first.state_, {}, {}})) {}

task<server_context> server_context::from_files(std::string chain_path, std::string key_path,
                                                server_options options) {
  detail::server_state::source first;
  first.certificate = co_await detail::read_pair(chain_path, key_path);
  first.chain_path = std::move(chain_path);
  first.key_path = std::move(key_path);
  co_return server_context(std::make_shared<detail::server_state>(options, std::move(first)));
}

void server_context::add(const certificate& another) {
  state_->update([&](auto& all) { all.push_back({another.state_, {}, {}}); });
}

task<> server_context::add_files(std::string chain_path, std::string key_path) {
  return detail::read_another(state_, std::move(chain_path), std::move(key_path));
}

void server_context::replace(const std::vector<certificate>& certificates) {
  RILL_ASSERT(!certificates.empty(), "a server needs a certificate");
  state_->update([&](auto& all) {
    all.clear();
    for (const certificate& each : certificates) all.push_back({each.state_, {}, {}});
  });
}

task<> server_context::reload() { return detail::read_again(state_); }

}  // namespace rill::tls
