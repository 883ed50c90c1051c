#include "services/expert_server/expert_server_flags.h"

namespace conclave {

void ExpertServerFlags::add_to(CLI::App* app) {
  server.add_to(app, ServerFlags::Kind::kNode);
  app->add_option("--experts", experts,
                  "What to hold: I/N, shard I of N counted from 0, or LAYERS:EXPERTS lists such as "
                  "\"3-10:0-31,40;11:0-63\"; auto: what control orders; auto:I/N or auto:LISTS: "
                  "these at the start, then what control orders")
      ->required();
  app->add_option("--max-queued-legs", max_queued_legs,
                  "Legs that may wait; further ones are refused")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app->add_option("--max-batch-picks", max_batch_picks, "Most picks that are computed together")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app->add_option("--capacity", capacity_bytes,
                  "Room for expert weights, such as 64GiB; 0: the memory available at the start")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
      ->capture_default_str();
  transport.add_to_receiver(app);
  app->add_flag("--overcommit", overcommit, "Load experts that exceed the room for them");
}

}  // namespace conclave
