// What surrounds a program's task: the kernel's choice, the signals, the exit code. See run.h.
#include <rill/runtime/run.h>

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <rill/runtime/signals.h>
#include <rill/runtime/timer.h>

namespace rill {
namespace {

/// In one write(2), so that lines of other processes do not get in between.
void write_to_stderr(std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

int fail(std::string_view what) {
  std::string line = std::string(::program_invocation_short_name) + ": ";
  line += what;
  std::replace(line.begin(), line.end(), '\n', ' ');
  write_to_stderr(line + '\n');
  return 1;
}

/// The task trees of all loops: each loop writes its own down, whoever comes last prints them.
class tree_report : public std::enable_shared_from_this<tree_report> {
 public:
  static std::shared_ptr<tree_report> begin(loop& asker) {
    auto report = std::make_shared<tree_report>();
    {
      // One walk, since loops begin and end; the answers wait until all have been asked.
      const std::scoped_lock lock(report->mutex_);
      loop::for_each_running([&](loop& each) {
        const std::size_t mine = report->entries_.size();
        report->entries_.push_back({each.thread_number(), std::nullopt});
        if (&each == &asker) {
          report->entries_[mine].tree = each.task_tree();
        } else {
          ++report->missing_;
          each.post([report, mine, &each] { report->answer(mine, each.task_tree()); });
        }
      });
    }
    report->print_if(all_have_answered);
    return report;
  }

  /// Prints what there is, unless all was printed before.
  void finish() { print_if(always); }
  bool is_finished() {
    const std::scoped_lock lock(mutex_);
    return printed_;
  }

 private:
  enum condition : unsigned char { all_have_answered, always };
  struct entry {
    int thread;
    std::optional<std::string> tree;
  };

  void answer(std::size_t index, std::string tree) {
    {
      const std::scoped_lock lock(mutex_);
      if (printed_) return;
      entries_[index].tree = std::move(tree);
      --missing_;
    }
    print_if(all_have_answered);
  }
  void print_if(condition when) {
    std::string text;
    {
      const std::scoped_lock lock(mutex_);
      if (printed_ || (when == all_have_answered && missing_ != 0)) return;
      printed_ = true;
      for (const entry& each : entries_) {
        text += std::string(::program_invocation_short_name) + ", loop of thread " +
                std::to_string(each.thread) + ": ";
        text += each.tree ? *each.tree : "busy, no answer within a second\n";
      }
    }
    // With no lock held: whoever reads stderr may be slow.
    write_to_stderr(text);
  }

  std::mutex mutex_;
  std::vector<entry> entries_;
  std::size_t missing_ = 0;
  bool printed_ = false;
};

constexpr std::array handled_signals{SIGINT, SIGTERM, SIGUSR1};

/// Restores at its end what run() changes in the process.
class signal_state {
 public:
  signal_state() noexcept {
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask_);
    struct sigaction ignore{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &pipe_action_);
  }
  signal_state(const signal_state&) = delete;
  signal_state& operator=(const signal_state&) = delete;
  ~signal_state() {
    discard_late_signals();
    ::sigaction(SIGPIPE, &pipe_action_, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }

 private:
  /// What was blocked and is still pending, such as a third SIGTERM, would have its default
  /// effect, mostly death, in the moment in which the mask is restored.
  void discard_late_signals() const noexcept {
    sigset_t now_blocked;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &now_blocked);
    sigset_t late;
    sigemptyset(&late);
    for (int number = 1; number < NSIG; ++number) {
      if (sigismember(&now_blocked, number) == 1 && sigismember(&mask_, number) == 0) {
        sigaddset(&late, number);
      }
    }
    const timespec no_wait{};
    while (::sigtimedwait(&late, nullptr, &no_wait) > 0) {
    }
  }

  sigset_t mask_;
  struct sigaction pipe_action_;
};

/// run()'s own handling. Its read belongs to no task, so it neither keeps the loop alive nor is
/// cancelled with the main task: the second signal finds it.
class process_signals final : detail::signal_source, detail::timer_node {
 public:
  explicit process_signals(loop& on) : signal_source(on, handled_signals), loop_(&on) {
    // Not before the loop runs: a kernel that does not start takes no operation back either.
    on.post([this] {
      arm();
      armed_ = true;
    });
  }
  ~process_signals() {
    loop_->timers().remove(*this);
    if (report_) report_->finish();
    close();
    loop_->object_opened();  // a loop that has nothing left to wait for does not sleep
    while (!closed_ && armed_) loop_->turn();
    loop_->object_closed();
  }

 private:
  static constexpr std::int64_t answer_time = 1'000'000'000;  // nanoseconds

  void arrived(int number) noexcept override {
    if (number == SIGUSR1) {
      print_trees();
    } else if (!stopping_) {
      stopping_ = true;
      loop_->stop();
    } else {
      loop_->stop_now();
    }
  }
  void closed() noexcept override { closed_ = true; }

  void print_trees() noexcept {
    try {
      if (report_ && !report_->is_finished()) return;  // that one answers this signal as well
      report_ = tree_report::begin(*loop_);
      if (!report_->is_finished()) loop_->timers().arm(*this, loop_->now + answer_time);
    } catch (const std::bad_alloc&) {
      write_to_stderr("no memory is left to write the task tree\n");
    }
  }
  void expired() noexcept override { report_->finish(); }

  loop* loop_;
  std::shared_ptr<tree_report> report_;
  bool stopping_ = false;
  bool armed_ = false;
  bool closed_ = false;
};

struct destroys_or_keeps {
  void operator()(loop* ended) const noexcept {
    loop::destroy_or_keep(std::unique_ptr<loop>(ended));
  }
};

}  // namespace

int detail::run_main(const run_options& options, main_function& main) {
  try {
    std::optional<signal_state> state;
    if (options.handle_signals) state.emplace();
    const std::unique_ptr<loop, destroys_or_keeps> on(
        new loop(make_kernel(options.kernel), options.loop));
    std::optional<process_signals> watch;
    if (state) watch.emplace(*on);
    int exit_code = 0;
    on->run(main.begin(exit_code));
    return exit_code;
  } catch (const std::exception& error) {
    return fail(error.what());
  } catch (...) {
    return fail("an exception of unknown type ended the program");
  }
}

}  // namespace rill
