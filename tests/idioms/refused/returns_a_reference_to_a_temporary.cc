// refused: deleted .*return_value
#include <string>

#include <rill/runtime/task.h>

rill::task<const std::string&> name(const std::string& given) {
#ifdef ALLOWED
  co_return given;
#else
  co_return given + "!";
#endif
}
