// gateway: the clients' door, and the brain that knows which server holds which expert.

#include "services/gateway/gateway.h"
#include "services/gateway/gateway_flags.h"
#include "services/server/serve.h"

int main(int argc, char** argv) {
  conclave::GatewayFlags flags;
  return conclave::server_main(
      argc, argv,
      {.name = "gateway",
       .description = "Gateway: clients' door, membership, placement",
       .add_flags = [&](CLI::App* app) { flags.add_to(app); },
       .run = [&](conclave::StopSignal* stop) { return run_gateway(flags, stop); }});
}
