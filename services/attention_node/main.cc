// attention_node: holds the latent caches and runs everything of a model but its routed experts.

#include "services/attention_node/attention_node.h"
#include "services/attention_node/node_flags.h"
#include "services/server/serve.h"

int main(int argc, char** argv) {
  conclave::NodeFlags flags;
  return conclave::server_main(
      argc, argv,
      {.name = "attention_node",
       .description = "Attention node: latent caches, attention and the walk through the layers",
       .add_flags = [&](CLI::App* app) { flags.add_to(app); },
       .run = [&](conclave::StopSignal* stop) { return run_attention_node(flags, stop); }});
}
