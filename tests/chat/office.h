// Shards without loops: a courier that carries when the test says so, in any order that threads
// could give, and members that write down what they are told.
// Read next: shard_test.cpp.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rill/protocols/chat/event.h>
#include <rill/protocols/chat/member.h>
#include <rill/protocols/chat/shard.h>

namespace rill::chat::test {

/// Several shards, with what is on its way between each two of them.
class office {
 public:
  explicit office(unsigned count, const hub_options& options = hub_options()) {
    for (unsigned i = 0; i != count; ++i) {
      desks_.push_back(std::make_unique<desk>(*this, i, count, options));
    }
  }
  shard& at(unsigned index) { return desks_[index]->own; }
  unsigned size() const { return static_cast<unsigned>(desks_.size()); }

  /// Ways on which something waits: a shard that is to flush, or a batch between two shards.
  struct way {
    unsigned from;
    unsigned to;
    bool is_flush;
  };
  std::vector<way> ways() const {
    std::vector<way> all;
    for (unsigned from = 0; from != size(); ++from) {
      if (desks_[from]->wants_flush) all.push_back({from, from, true});
      for (unsigned to = 0; to != size(); ++to) {
        if (!desks_[from]->carried[to].empty()) all.push_back({from, to, false});
      }
    }
    return all;
  }
  void step(const way& on) {
    desk& from = *desks_[on.from];
    if (on.is_flush) {
      from.wants_flush = false;
      from.own.flush();
      return;
    }
    std::vector<shard_message> batch = std::move(from.carried[on.to].front());
    from.carried[on.to].pop_front();
    ++batch_count;
    at(on.to).receive(std::move(batch));
  }
  /// Until nothing is on its way.
  void settle() {
    for (std::vector<way> left = ways(); !left.empty(); left = ways()) step(left.front());
  }

  std::size_t batch_count = 0;
  std::int64_t now = 1'000;

 private:
  struct desk final : courier {
    desk(office& all, unsigned index, unsigned count, const hub_options& options)
        : own(index, count, options, *this), carried(count), of(&all) {}
    void schedule_flush() override { wants_flush = true; }
    void carry(unsigned to, std::vector<shard_message> batch) override {
      carried[to].push_back(std::move(batch));
    }
    std::int64_t wall_now() override { return of->now; }

    shard own;
    std::vector<std::deque<std::vector<shard_message>>> carried;
    office* of;
    bool wants_flush = false;
  };

  std::vector<std::unique_ptr<desk>> desks_;
};

/// Writes down what it is told, and takes what is queued when the test says so.
class witness final : public member {
 public:
  explicit witness(shard& of) : of_(&of) { of.attach(*this); }
  ~witness() { leave(); }
  void leave() {
    if (of_ != nullptr) std::exchange(of_, nullptr)->detach(*this);
  }

  void name_answered(const shared_text& name, bool granted) override {
    told.push_back((granted ? "name " : "no name ") + *name);
  }
  void room_answered(const shared_text& room, bool granted,
                     const std::vector<shared_event>& history) override {
    told.push_back((granted ? "room " : "no room ") + *room);
    for (const shared_event& each : history) told.push_back("before " + line_form(*each));
  }
  void happened(const shared_text&, outgoing_event& what) override {
    ids.push_back(what.what().id);
    times.push_back(what.what().time);
    told.push_back(line_form(what.what()));
    told.back().pop_back();
    send(what.form(member_form::line, line_form));
  }
  void who_answered(const who_answer& answer) override {
    std::string text = "who " + *answer.room;
    for (const shared_text& each : answer.names) text += ' ' + *each;
    told.push_back(text + " of " + std::to_string(answer.count));
  }
  void rooms_answered(std::vector<room_count> rooms) override {
    for (const room_count& each : rooms) {
      told.push_back("room " + *each.room + ' ' + std::to_string(each.count));
    }
  }
  void whispered(const std::string& sender, const std::string& text) override {
    told.push_back(sender + " whispers " + text);
  }
  void whisper_answered(const std::string& to, const std::string& text, bool delivered) override {
    told.push_back((delivered ? "told " : "cannot tell ") + to + ' ' + text);
  }
  bool wants_own() const noexcept override { return wants_own_events; }

  /// What a writer takes, and what it says when that is sent.
  std::vector<shared_bytes> take() { return take_queue(); }
  void was_sent(const std::vector<shared_bytes>& bytes) { sent(bytes); }

  std::vector<std::string> told;
  std::vector<std::uint64_t> ids;
  std::vector<std::int64_t> times;
  std::size_t wake_count = 0;
  bool wants_own_events = false;

 private:
  void wake() noexcept override { ++wake_count; }
  std::string missed_note(std::uint32_t count) const override {
    return "missed " + std::to_string(count);
  }
  shard* of_;
};

/// A member with a name, in the lobby.
inline std::unique_ptr<witness> enter(office& of, unsigned index, std::string_view name,
                                      std::string_view room = "lobby") {
  auto made = std::make_unique<witness>(of.at(index));
  of.at(index).claim(*made, name);
  of.settle();
  of.at(index).join(*made, room);
  of.settle();
  return made;
}

}  // namespace rill::chat::test
