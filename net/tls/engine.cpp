// OpenSSL between two buffers. What it reads and writes passes through bio_read and bio_write; what
// it refuses becomes one error code in diagnose(). See engine.h.
#include <rill/net/tls/engine.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <new>
#include <utility>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <rill/net/tls/context_state.h>
#include <rill/net/tls/library.h>
#include <rill/runtime/error.h>

namespace rill::tls::detail {
namespace {

engine& engine_of(BIO* of) { return *static_cast<engine*>(BIO_get_data(of)); }

long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

const BIO_METHOD* bio_method() {
  static const BIO_METHOD* const method = [] {
    BIO_METHOD* const made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rill");
    if (made == nullptr) throw std::bad_alloc();
    BIO_meth_set_read(made, [](BIO* of, char* into, int size) {
      BIO_clear_retry_flags(of);
      const int came = engine_of(of).bio_read(into, size);
      if (came < 0) BIO_set_retry_read(of);
      return came;
    });
    BIO_meth_set_write(made, [](BIO* of, const char* from, int size) {
      BIO_clear_retry_flags(of);
      return engine_of(of).bio_write(from, size);
    });
    BIO_meth_set_ctrl(made, control);
    return made;
  }();
  return method;
}

/// How HTTP begins, in requests and answers.
bool looks_like_http(std::string_view text) {
  for (const std::string_view each : {"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ",
                                      "OPTIONS ", "TRACE ", "PATCH ", "PRI ", "HTTP/"}) {
    const std::size_t size = std::min(each.size(), text.size());
    if (size >= 4 && each.substr(0, size) == text.substr(0, size)) return true;
  }
  return false;
}

/// The first byte of a record is its type, 20 to 24, the second the version's first half, 3.
bool looks_like_tls(std::string_view text) {
  const auto type = static_cast<unsigned char>(text.front());
  return type >= 20 && type <= 24 && (text.size() == 1 || text[1] == 3);
}

/// As certificates have names: lower case, without the root's dot. Empty: it is none.
std::string normal_name(std::string_view host) {
  constexpr std::size_t name_size_max = 253;  // RFC 1035 section 2.3.4, less length and root
  if (host.ends_with('.')) host.remove_suffix(1);
  if (host.size() > name_size_max) return {};
  std::string name(host);
  for (char& each : name) {
    if (each >= 'A' && each <= 'Z') each = static_cast<char>(each - 'A' + 'a');
    const bool is_fine = (each >= 'a' && each <= 'z') || (each >= '0' && each <= '9') ||
                         each == '-' || each == '.' || each == '_';
    if (!is_fine) return {};
  }
  return name;
}

constexpr std::size_t batch_capacity = engine::batch_size + engine::record_size_max;
constexpr std::size_t spare_count_max = 16;

std::vector<std::vector<std::byte>>& spare_memory() {
  thread_local std::vector<std::vector<std::byte>> all;
  return all;
}

ssl_ptr connection_of(const ssl_ctx_ptr& context) {
  ssl_ptr made(SSL_new(context.get()));
  if (!made) throw std::bad_alloc();
  return made;
}

}  // namespace

// Not by SSL_set_app_data, whose list of such pointers takes a hundred bytes a connection.
engine& engine::of(const ssl_st* connection) noexcept {
  return engine_of(SSL_get_rbio(connection));
}

void free_ssl::operator()(ssl_st* connection) const noexcept { SSL_free(connection); }

const_buffer piece_cursor::next(std::span<std::byte> room) noexcept {
  std::size_t gathered = 0;
  while (!pieces_.empty()) {
    const const_buffer& first = pieces_.front();
    const std::size_t left = first.size() - offset_;
    const std::size_t size = std::min(left, room.size() - gathered);
    const std::byte* const from = first.data() + offset_;
    const bool is_done = size == left;
    // What fills a record by itself, or has nothing after it, need not be copied.
    if (gathered == 0 && size != 0 && (size == room.size() || pieces_.size() == 1)) {
      offset_ += size;
      if (is_done) {
        pieces_ = pieces_.subspan(1);
        offset_ = 0;
      }
      return {from, size};
    }
    if (size != 0) std::memcpy(room.data() + gathered, from, size);
    gathered += size;
    offset_ += size;
    if (!is_done) break;
    pieces_ = pieces_.subspan(1);
    offset_ = 0;
  }
  return {room.data(), gathered};
}

engine::engine(const client_context& with, std::string_view host, kernel& seam)
    : seam_(&seam),
      client_(std::make_unique<client_part>(client_part{with.state_, std::string(host), {}})),
      ssl_(connection_of(with.state_->context).release()) {
  begin();
  SSL* const on = ssl_.get();
  SSL_set_connect_state(on);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const std::string text(host);
  X509_VERIFY_PARAM* const checks = SSL_get0_param(on);
  const bool is_address =
      X509_VERIFY_PARAM_set1_ip_asc(checks, text.c_str()) == 1 && host.find('\0') == host.npos;
  ERR_clear_error();
  client_->host = is_address ? text : normal_name(host);
  if (client_->host.empty() && (client_->state->verify || !host.empty())) {
    throw io_error(tls_error::bad_host_name, "TLS handshake", host);
  }
  if (!is_address && !client_->host.empty()) {
    X509_VERIFY_PARAM_set_hostflags(
        checks, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (SSL_set1_host(on, client_->host.c_str()) != 1 ||
        SSL_set_tlsext_host_name(on, client_->host.c_str()) != 1) {
      throw std::bad_alloc();
    }
  }
  if (const session_ptr session =
          client_->state->sessions.take(client_->host, wall_seconds(seam))) {
    // The ticket's age is counted on the system's clock and goes out in the ClientHello. In a
    // simulated world it is always zero.
    if (is_simulated(seam)) {
      SSL_SESSION_set_time(session.get(), static_cast<long>(std::time(nullptr)));
    }
    SSL_set_session(on, session.get());
  }
}

engine::engine(const server_context& with, kernel& seam)
    : seam_(&seam),
      server_(with.state_->current()),
      ssl_(connection_of(server_->context).release()) {
  begin();
  SSL_set_accept_state(ssl_.get());
}

engine::~engine() {
  // OpenSSL would forbid to resume the session of a connection that was not closed, a rule of TLS
  // 1.0 which later versions have dropped (RFC 4346 section 7.2.1).
  if (!failure_) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
}

void engine::begin() {
  if (is_simulated(*seam_)) use_simulated_randomness();
  BIO* const both = BIO_new(bio_method());
  if (both == nullptr) throw std::bad_alloc();
  BIO_set_data(both, this);
  BIO_set_init(both, 1);
  SSL_set_bio(ssl_.get(), both, both);
  X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl_.get()),
                             static_cast<std::time_t>(wall_seconds(*seam_)));
}

void engine::set_input(std::span<const std::byte> bytes) noexcept {
  input_ = bytes;
  const std::size_t room = first_bytes_.size() - first_size_;
  const std::size_t size = std::min(room, bytes.size());
  if (size != 0) std::memcpy(first_bytes_.data() + first_size_, bytes.data(), size);
  first_size_ = static_cast<std::uint8_t>(first_size_ + size);
}

int engine::bio_read(char* into, int size) noexcept {
  if (input_.empty()) return -1;
  const std::size_t taken = std::min(static_cast<std::size_t>(size), input_.size());
  std::memcpy(into, input_.data(), taken);
  input_ = input_.subspan(taken);
  return static_cast<int>(taken);
}

int engine::bio_write(const char* from, int size) noexcept {
  try {
    const auto* const bytes = reinterpret_cast<const std::byte*>(from);
    output_.insert(output_.end(), bytes, bytes + size);
    return size;
  } catch (const std::bad_alloc&) {
    out_of_memory_ = true;
    return -1;
  }
}

void engine::fail(std::error_code why) noexcept {
  if (!failure_) failure_ = why;
}

bool engine::settle(int outcome) noexcept {
  if (outcome > 0) return true;
  const int kind = SSL_get_error(ssl_.get(), outcome);
  if (kind == SSL_ERROR_WANT_READ) return false;
  if (kind == SSL_ERROR_ZERO_RETURN) {
    ended_ = true;
  } else {
    fail(diagnose());
  }
  ERR_clear_error();
  return false;
}

std::error_code engine::diagnose() noexcept {
  if (out_of_memory_) return std::make_error_code(std::errc::not_enough_memory);
  const std::error_code said = take_error(tls_error::not_tls);
  const std::string_view first(first_bytes_.data(), first_size_);
  if (!handshaken_ && !first.empty() && !looks_like_tls(first)) {
    return looks_like_http(first) ? tls_error::plain_http : tls_error::not_tls;
  }
  constexpr int verify_failed = (ERR_LIB_SSL << 23) | SSL_R_CERTIFICATE_VERIFY_FAILED;
  const long found = SSL_get_verify_result(ssl_.get());
  if (said.value() == verify_failed && found != X509_V_OK) {
    return {verify_base + static_cast<int>(found), tls_category()};
  }
  return said;
}

engine::progress engine::handshake() noexcept {
  if (failure_) return progress::failed;
  ERR_clear_error();
  if (settle(SSL_do_handshake(ssl_.get()))) {
    handshaken_ = true;
    return progress::done;
  }
  if (ended_) fail(tls_error::truncated);
  return failure_ ? progress::failed : progress::wants_input;
}

bool engine::may_answer_later() const noexcept {
  return handshaken_ && server_ != nullptr && output_.size() <= answers_size_max / 2 &&
         SSL_version(ssl_.get()) == TLS1_3_VERSION;
}

bool engine::can_read() noexcept {
  if (ended_ || failure_ || SSL_pending(ssl_.get()) > 0) return true;
  if (input_.empty()) return false;
  char first = 0;
  ERR_clear_error();
  if (settle(SSL_peek(ssl_.get(), &first, 1))) return true;
  if (output_.size() > answers_size_max) fail(tls_error::too_many_messages);
  return ended_ || failure_;
}

std::size_t engine::readable_size() const noexcept {
  return static_cast<std::size_t>(SSL_pending(ssl_.get()));
}

std::size_t engine::read(std::span<std::byte> into) noexcept {
  std::size_t total = 0;
  while (total < into.size() && (SSL_pending(ssl_.get()) > 0 || has_input())) {
    if (ended_ || failure_) break;
    std::size_t size = 0;
    ERR_clear_error();
    if (!settle(SSL_read_ex(ssl_.get(), into.data() + total, into.size() - total, &size))) break;
    total += size;
  }
  return total;
}

void engine::keep_memory(std::vector<std::byte>&& sent) {
  auto& spare = spare_memory();
  if (sent.capacity() < batch_capacity || spare.size() == spare_count_max) return;
  spare.reserve(spare_count_max);
  sent.clear();
  spare.push_back(std::move(sent));
}

bool engine::encrypt(piece_cursor& from) {
  std::unique_ptr<std::byte[]> room;
  if (from.is_several()) room = std::make_unique_for_overwrite<std::byte[]>(record_size_max);
  while (!failure_ && output_.size() < batch_size) {
    const const_buffer part = from.next({room.get(), record_size_max});
    if (part.empty()) break;
    if (part.size() == record_size_max && output_.capacity() < batch_capacity) {
      auto& spare = spare_memory();
      if (output_.empty() && !spare.empty()) {
        output_ = std::move(spare.back());
        spare.pop_back();
      }
      output_.reserve(batch_capacity);
    }
    std::size_t size = 0;
    ERR_clear_error();
    if (!settle(SSL_write_ex(ssl_.get(), part.data(), part.size(), &size))) {
      fail(std::make_error_code(std::errc::protocol_error));  // without one it never has to wait
    }
  }
  return !failure_;
}

void engine::close_notify() noexcept {
  if (failure_) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

version engine::protocol_version() const noexcept {
  return SSL_version(ssl_.get()) >= TLS1_3_VERSION ? version::tls1_3 : version::tls1_2;
}

std::string_view engine::cipher() const noexcept { return SSL_get_cipher_name(ssl_.get()); }

std::string_view engine::protocol() const noexcept {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_.get(), &name, &size);
  return {reinterpret_cast<const char*>(name), size};
}

bool engine::is_resumed() const noexcept { return SSL_session_reused(ssl_.get()) == 1; }

std::string_view engine::server_name() const noexcept {
  const char* const name = SSL_get_servername(ssl_.get(), TLSEXT_NAMETYPE_host_name);
  return name != nullptr ? name : std::string_view();
}

namespace {

std::string text_of(BIO* from) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(from, &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace

std::string engine::peer_subject() const {
  const X509* const peer = SSL_get0_peer_certificate(ssl_.get());
  const bio_ptr text(BIO_new(BIO_s_mem()));
  if (peer == nullptr || !text) return {};
  X509_NAME_print_ex(text.get(), X509_get_subject_name(peer), 0, XN_FLAG_RFC2253);
  return text_of(text.get());
}

std::string engine::peer_certificate_pem() const {
  X509* const peer = SSL_get0_peer_certificate(ssl_.get());
  const bio_ptr text(BIO_new(BIO_s_mem()));
  if (peer == nullptr || !text) return {};
  PEM_write_bio_X509(text.get(), peer);
  return text_of(text.get());
}

void engine::keep_session(ssl_session_st* session) noexcept {
  session_ptr mine(session);
  if (client_ == nullptr || client_->host.empty() || SSL_SESSION_is_resumable(session) != 1) return;
  std::int64_t lifetime = SSL_SESSION_get_timeout(session);
  const auto hint = static_cast<std::int64_t>(SSL_SESSION_get_ticket_lifetime_hint(session));
  if (hint != 0) lifetime = std::min(lifetime, hint);
  client_->state->sessions.put(client_->host, std::move(mine), wall_seconds(*seam_) + lifetime);
}

}  // namespace rill::tls::detail
