// A coroutine without any library: what the compiler makes of it, and who calls whom.
//
//   build/release/bin/07_coroutine_by_hand
//     the frame is made: 1
//     called; nothing has run yet
//     the body begins
//     suspended; main goes on
//     resumed with 42
//     the body ends
//     the frame is gone: 0
//
// rill::task is this with an owner, a result, and a loop that calls resume() (runtime/task.h).
// Read next: 08_lazy_tasks.cpp.
#include <coroutine>
#include <cstdio>
#include <exception>

namespace {

int frame_count = 0;

// The awaiter: an object that co_await talks to. The compiler asks it three questions.
class number_from_outside {
 public:
  explicit number_from_outside(int& number) : number_(&number) {}
  bool await_ready() { return false; }  // is it here already?
  // If not, the frame is suspended, and here is its handle: see to it that somebody resumes it.
  void await_suspend(std::coroutine_handle<> frame) { waiting = frame; }
  int await_resume() { return *number_; }  // what does co_await give?

  static inline std::coroutine_handle<> waiting;

 private:
  int* number_;
};

// The return type says by its promise_type how the coroutine behaves.
struct simple_task {
  struct promise_type {
    promise_type() { ++frame_count; }  // the promise lives in the frame
    ~promise_type() { --frame_count; }
    simple_task get_return_object() {
      return {std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    std::suspend_always initial_suspend() { return {}; }         // lazy: wait before the first line
    std::suspend_always final_suspend() noexcept { return {}; }  // stay until somebody destroys it
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
  std::coroutine_handle<promise_type> frame;
};

simple_task body(int& number) {  // parameters are copied into the frame; this one is a reference
  std::printf("the body begins\n");
  const int got = co_await number_from_outside(number);  // a local that lives in the frame
  std::printf("resumed with %d\n", got);
  std::printf("the body ends\n");
}

}  // namespace

int main() {
  int number = 0;
  simple_task task = body(number);  // allocates the frame
  std::printf("the frame is made: %d\n", frame_count);
  std::printf("called; nothing has run yet\n");
  task.frame.resume();  // runs until the first co_await that has to wait
  std::printf("suspended; main goes on\n");
  number = 42;
  number_from_outside::waiting.resume();  // runs until the end
  task.frame.destroy();
  std::printf("the frame is gone: %d\n", frame_count);
}
