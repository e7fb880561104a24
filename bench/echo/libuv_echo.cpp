// Echo by Debian's libuv: callbacks on epoll, the loop beneath Node.
//
// Tuned as libuv allows: one read buffer for all, and uv_try_write first, so that a queued write
// and its allocation are paid only when the peer reads slowly.

#include <memory>

#include <uv.h>

#include "server.h"

namespace {

char read_buffer[64 * 1024];

void must_uv(int result, const char* what) {
  if (result >= 0) return;
  std::fprintf(stderr, "error: %s: %s\n", what, uv_strerror(result));
  std::exit(1);
}

struct queued_write {
  uv_write_t request{};
  std::unique_ptr<char[]> bytes;
};

void on_closed(uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); }

void close_stream(uv_stream_t* stream) {
  auto* handle = reinterpret_cast<uv_handle_t*>(stream);
  if (uv_is_closing(handle) == 0) uv_close(handle, on_closed);
}

void on_allocate(uv_handle_t*, std::size_t, uv_buf_t* buffer) {
  *buffer = uv_buf_init(read_buffer, sizeof read_buffer);
}

void on_read(uv_stream_t* stream, ssize_t got, const uv_buf_t* buffer);

// Reading stops while a write is queued, so at most one is queued for a connection.
void on_written(uv_write_t* request, int status) {
  auto* stream = request->handle;
  delete static_cast<queued_write*>(request->data);
  if (status < 0) return close_stream(stream);
  if (uv_is_closing(reinterpret_cast<uv_handle_t*>(stream)) == 0) {
    uv_read_start(stream, on_allocate, on_read);
  }
}

void on_read(uv_stream_t* stream, ssize_t got, const uv_buf_t* buffer) {
  if (got == 0) return;  // EAGAIN
  if (got < 0) return close_stream(stream);
  uv_buf_t bytes = uv_buf_init(buffer->base, static_cast<unsigned>(got));
  int sent = uv_try_write(stream, &bytes, 1);
  if (sent == got) return;
  if (sent == UV_EAGAIN) sent = 0;
  if (sent < 0) return close_stream(stream);
  std::size_t rest = static_cast<std::size_t>(got - sent);
  auto write = std::make_unique<queued_write>();
  write->bytes = std::make_unique_for_overwrite<char[]>(rest);
  std::memcpy(write->bytes.get(), buffer->base + sent, rest);
  write->request.data = write.get();
  uv_buf_t rest_bytes = uv_buf_init(write->bytes.get(), static_cast<unsigned>(rest));
  uv_read_stop(stream);
  if (uv_write(&write->request, stream, &rest_bytes, 1, on_written) < 0) {
    return close_stream(stream);
  }
  write.release();  // on_written deletes it
}

void on_connection(uv_stream_t* listener, int status) {
  if (status < 0) return;
  auto* peer = new uv_tcp_t;
  uv_tcp_init(listener->loop, peer);
  auto* stream = reinterpret_cast<uv_stream_t*>(peer);
  if (uv_accept(listener, stream) < 0) return close_stream(stream);
  uv_tcp_nodelay(peer, 1);
  uv_read_start(stream, on_allocate, on_read);
}

}  // namespace

int main(int argc, char** argv) {
  std::uint16_t port = 0;
  CLI::App app{"Echo by libuv."};
  app.add_option("--port", port, "port on 127.0.0.1, 0 for any free one");
  bench::parse_or_exit(app, argc, argv);

  bench::raise_descriptor_limit();
  std::signal(SIGPIPE, SIG_IGN);
  uv_loop_t* loop = uv_default_loop();
  uv_tcp_t listener;
  must_uv(uv_tcp_init(loop, &listener), "uv_tcp_init");
  sockaddr_in address{};
  must_uv(uv_ip4_addr("127.0.0.1", port, &address), "uv_ip4_addr");
  must_uv(uv_tcp_bind(&listener, reinterpret_cast<sockaddr*>(&address), 0), "bind");
  must_uv(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), 4096, on_connection), "listen");
  int size = sizeof address;
  must_uv(uv_tcp_getsockname(&listener, reinterpret_cast<sockaddr*>(&address), &size),
          "getsockname");
  bench::announce_ready(ntohs(address.sin_port));
  return uv_run(loop, UV_RUN_DEFAULT);
}
