#include "model/ffn.h"

#include "kernels/matmul.h"
#include "kernels/swiglu.h"

namespace conclave {

void ffn(const FfnArgs& args, Executor* executor) {
  matmul({.x = args.x, .w = args.weights->gate, .out = args.gate}, executor);
  matmul({.x = args.x, .w = args.weights->up, .out = args.up}, executor);
  swiglu({.gate = args.gate, .up = args.up, .out = args.gate});
  matmul({.x = args.gate, .w = args.weights->down, .out = args.out}, executor);
}

}  // namespace conclave
