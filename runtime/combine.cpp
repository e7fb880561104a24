// How the tasks of all_of and any_of begin and end. See combine.h.
#include <rill/runtime/combine.h>

namespace rill::detail {

void branch::begin(scope& parent, scheduler& on, std::size_t index) noexcept {
  index_ = index;
  chain_ = ::new (static_cast<void*>(storage_)) branch_chain(parent, on, *this);
  chain_->start(*std::exchange(root_, nullptr));
}

void branch::end() noexcept {
  if (chain_ != nullptr) {
    std::exchange(chain_, nullptr)->~branch_chain();
  } else if (root_ != nullptr) {
    std::exchange(root_, nullptr)->self.destroy();
  }
}

branches_scope::entry branches_scope::enter(promise_base& awaiting, std::size_t count) noexcept {
  RILL_ASSERT(owner_ == nullptr, "all_of or any_of was awaited twice");
  chain& mine = *awaiting.owner_chain;
  if (count == 0) {  // nothing to wait for, which only all_of accepts
    if (mine.on().may_continue()) return entry::ready;
    mine.yield(awaiting);
    return entry::suspended;
  }
  if (!mine.suspend(awaiting, *this)) return entry::suspended;
  owner_ = &mine;
  running_count_ = count;
  return entry::begin;
}

void branches_scope::child_done(chain& child, bool completed) noexcept {
  branch& ended = static_cast<branch_chain&>(child).of;
  branch_done(ended, completed);
  ended.end();
  if (--running_count_ != 0) return;
  if (has_outcome()) {
    owner_->make_ready();
  } else {
    owner_->destroy_later();
  }
}

void all_scope::branch_done(branch& ended, bool completed) noexcept {
  if (!completed) {
    any_destroyed_ = true;
  } else if (!error_) {
    error_ = ended.collect();
    if (error_) cancel_children();
  }
}

void all_scope::describe(std::string& text) const {
  text += "all_of, " + std::to_string(running_count_) + " running";
}

void any_scope::branch_done(branch& ended, bool completed) noexcept {
  if (!completed || winner_ != nobody) return;
  winner_ = ended.index();
  error_ = ended.collect();
  cancel_children();
}

void any_scope::describe(std::string& text) const {
  text += "any_of, " + std::to_string(running_count_) + " running";
}

}  // namespace rill::detail
