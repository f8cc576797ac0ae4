#include "kernels/attention/attention.h"

namespace npumoe {

void Attention(const AttentionArgs& args, ThreadPool&) { AttentionReference(args); }

}  // namespace npumoe
