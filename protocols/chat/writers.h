// Writes the queues of one loop's members: a task for each that has something to be sent, for as
// long as it has. So an idle member owns no task and no frame for writing.
// When a message goes to thousands of members, so many tasks begin in one turn of the loop and no
// more, and those that meet a full socket wait beside the others: the memory that tasks take is
// that of one turn, plus that of members who do not read. Read next: session.h.
#pragma once

#include <memory>

#include <rill/runtime/task.h>

namespace rill::chat {

/// Something whose queue is to be written.
class sender {
 public:
  virtual ~sender() = default;
  /// Writes until the queue is empty. `self` is this object, which the task keeps.
  virtual task<> write_queue(std::shared_ptr<sender> self) = 0;

 protected:
  sender() = default;
  sender(const sender&) = default;
  sender& operator=(const sender&) = default;
};

/// Thread rule: one loop's.
class writers {
 public:
  writers();
  writers(const writers&) = delete;
  writers& operator=(const writers&) = delete;
  ~writers();

  /// Runs the tasks until end(); those that are left then are cancelled. It is not cancelled
  /// itself: members that drain have their last words written.
  [[nodiscard]] task<> run();
  void end() noexcept;

  /// Begins soon. REQUIRES: it is not being written.
  void add(std::shared_ptr<sender> added);

  /// Ends a writers' run when it is destroyed. Whoever awaits a server that drains is destroyed and
  /// goes on nowhere: this stands in its frame.
  class ending {
   public:
    explicit ending(writers& of) noexcept : of_(&of) {}
    ending(const ending&) = delete;
    ending& operator=(const ending&) = delete;
    ~ending() { of_->end(); }

   private:
    writers* of_;
  };

 private:
  struct state;
  task<> run_tasks();

  std::shared_ptr<state> state_;  // a message to the loop may outlive this object
};

}  // namespace rill::chat
