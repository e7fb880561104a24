// refused: which it is given as rvalues; std::ref passes a reference
#include <functional>
#include <string>

#include <rill/runtime/nursery.h>

rill::task<> child(std::string&) { co_return; }

rill::task<> body(rill::nursery& tasks, std::string& text) {
#ifdef ALLOWED
  tasks.start(child, std::ref(text));
#else
  tasks.start(child, text);
#endif
  co_return;
}
