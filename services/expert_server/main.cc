// expert_server: holds some routed experts of some layers and answers the legs that name them.

#include "services/expert_server/expert_server.h"
#include "services/expert_server/expert_server_flags.h"
#include "services/server/serve.h"

int main(int argc, char** argv) {
  conclave::ExpertServerFlags flags;
  return conclave::server_main(
      argc, argv,
      {.name = "expert_server",
       .description = "Expert server: holds routed experts and runs rows through them",
       .add_flags = [&](CLI::App* app) { flags.add_to(app); },
       .run = [&](conclave::StopSignal* stop) { return run_expert_server(flags, stop); }});
}
