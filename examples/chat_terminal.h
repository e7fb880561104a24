// Where chat_client reads lines and shows messages: a terminal with a line that is being edited, or
// plain standard input and output.
// Reading blocks, so a thread of its own does it and sends lines to the loop. On a terminal that
// thread and the loop share libedit, one at a time: the thread lets go of it only while it waits
// for a key, and then the loop may write a message above the line and have the line drawn again.
// Not here: anything about the chat (chat_client.cpp).
#pragma once

#include <histedit.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstring>
#include <cwchar>
#include <mutex>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <rill/runtime/remote_channel.h>

class terminal {
 public:
  /// Lines go to `typed` until the input ends.
  explicit terminal(rill::remote_sender<std::string> typed) : typed_(std::move(typed)) {
    if (::pipe(stop_) != 0) throw std::system_error(errno, std::system_category(), "pipe");
    is_terminal_ = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
    if (is_terminal_) open_editor();
    thread_ = std::thread([this] { is_terminal_ ? edit_lines() : read_lines(); });
  }
  terminal(const terminal&) = delete;
  terminal& operator=(const terminal&) = delete;
  ~terminal() {
    // The other end becomes readable, and the thread stops waiting.
    ::close(stop_[1]);
    thread_.join();
    if (is_terminal_) {
      ::el_end(editor_);
      ::history_end(history_);
    }
    ::close(stop_[0]);
  }

  /// Writes a line, above the one that is being typed. It must hold nothing that moves the cursor.
  void show(std::string_view line) {
    const std::lock_guard lock(mutex_);
    if (is_editing_) erase_line();
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fputc('\n', stdout);
    std::fflush(stdout);
    if (is_editing_) ::el_set(editor_, EL_REFRESH);
  }

 private:
  void open_editor() {
    // Without a locale that knows UTF-8 every other character would be shown as bytes.
    if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1) {
      std::setlocale(LC_CTYPE, "C.UTF-8");
    }
    editor_ = ::el_init("chat_client", stdin, stdout, stderr);
    history_ = ::history_init();
    HistEvent done;
    constexpr int history_count = 500;
    ::history(history_, &done, H_SETSIZE, history_count);
    ::el_set(editor_, EL_CLIENTDATA, this);
    ::el_set(editor_, EL_PROMPT, +[](EditLine*) { return const_cast<char*>(prompt); });
    ::el_set(editor_, EL_EDITOR, "emacs");
    ::el_set(editor_, EL_SIGNAL, 0);  // they are the loop's
    ::el_set(editor_, EL_HIST, ::history, history_);
    ::el_set(editor_, EL_GETCFN, &terminal::get_key);
  }

  /// The thread's loop on a terminal.
  void edit_lines() {
    std::unique_lock lock(mutex_);
    for (;;) {
      int size = 0;
      const char* const line = ::el_gets(editor_, &size);
      is_editing_ = false;
      if (line == nullptr || size <= 0) break;
      std::string text(line, static_cast<std::size_t>(size));
      if (text.ends_with('\n')) text.pop_back();
      HistEvent done;
      if (!text.empty()) ::history(history_, &done, H_ENTER, line);
      lock.unlock();
      const bool sent = send(std::move(text));
      lock.lock();
      if (!sent) break;
    }
    typed_.reset();
  }

  /// For libedit: the next character. The mutex is held by the caller, and not while waiting.
  static int get_key(EditLine* editor, wchar_t* key) {
    terminal* self = nullptr;
    ::el_get(editor, EL_CLIENTDATA, &self);
    self->is_editing_ = true;
    std::mbstate_t state{};
    for (;;) {
      self->mutex_.unlock();
      char byte = 0;
      const bool is_there = self->wait_for_input() && ::read(STDIN_FILENO, &byte, 1) == 1;
      self->mutex_.lock();
      if (!is_there) return 0;
      const std::size_t size = std::mbrtowc(key, &byte, 1, &state);
      if (size == static_cast<std::size_t>(-2)) continue;  // more bytes of one character
      if (size == static_cast<std::size_t>(-1)) {
        state = std::mbstate_t();
        continue;
      }
      if (size == 0) *key = L'\0';
      return 1;
    }
  }

  /// False: the program ends.
  bool wait_for_input() const {
    for (;;) {
      pollfd watched[] = {{STDIN_FILENO, POLLIN, 0}, {stop_[0], POLLIN, 0}};
      const int count = ::poll(watched, 2, -1);
      if (count < 0 && errno == EINTR) continue;
      return count > 0 && watched[1].revents == 0;
    }
  }

  /// From the cursor's place to the beginning of the line, which may be wrapped.
  void erase_line() {
    ::el_resize(editor_);
    const LineInfoW* const line = ::el_wline(editor_);
    std::size_t width = std::strlen(prompt);
    for (const wchar_t* each = line->buffer; each != line->cursor; ++each) {
      const int columns = ::wcwidth(*each);
      width += columns > 0 ? static_cast<std::size_t>(columns) : 0;
    }
    winsize window{};
    const bool is_known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col != 0;
    constexpr std::size_t usual_width = 80;
    const std::size_t rows = width / (is_known ? window.ws_col : usual_width);
    std::fputc('\r', stdout);
    if (rows != 0) std::fprintf(stdout, "\x1b[%zuA", rows);  // CUU, ECMA-48
    std::fputs("\x1b[J", stdout);                            // ED
  }

  /// The thread's loop elsewhere.
  void read_lines() {
    std::string held;
    char bytes[4096];
    while (wait_for_input()) {
      const ssize_t size = ::read(STDIN_FILENO, bytes, sizeof(bytes));
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) break;
      held.append(bytes, static_cast<std::size_t>(size));
      std::size_t begin = 0;
      for (std::size_t end; (end = held.find('\n', begin)) != std::string::npos; begin = end + 1) {
        if (!send(held.substr(begin, end - begin))) return;
      }
      held.erase(0, begin);
    }
    if (!held.empty()) send(std::move(held));
    typed_.reset();
  }

  /// Waits for room. False: nobody wants lines any more.
  bool send(std::string line) {
    while (!typed_.try_send(std::move(line))) {
      pollfd stopped{stop_[0], POLLIN, 0};
      constexpr int pause = 10;  // milliseconds
      if (typed_.is_closed() || ::poll(&stopped, 1, pause) != 0) return false;
    }
    return true;
  }

  static constexpr const char* prompt = "> ";

  rill::remote_sender<std::string> typed_;  // the thread's
  int stop_[2] = {-1, -1};
  bool is_terminal_ = false;
  std::mutex mutex_;  // for what follows
  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
  bool is_editing_ = false;
  std::thread thread_;
};
