#include "services/server/transport_flags.h"

namespace conclave {
namespace {

void add_spin(CLI::App* app, int32_t* spin_us) {
  app->add_option("--spin-us", *spin_us,
                  "Microseconds to look for legs before sleeping; where cores are to spare")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
}

}  // namespace

void TransportFlags::add_to_sender(CLI::App* app) {
  app->add_option("--transport", transport,
                  "How legs travel: shm, grpc, or auto: shm to expert servers of this machine, "
                  "grpc to the others (where this process routes)")
      ->check(CLI::IsMember({"auto", "grpc", "shm"}))
      ->capture_default_str();
  add_spin(app, &spin_us);
}

void TransportFlags::add_to_receiver(CLI::App* app) {
  app->add_option("--transport", transport,
                  "auto: legs come by grpc, and from processes of this machine through shared "
                  "memory; grpc: by grpc alone")
      ->check(CLI::IsMember({"auto", "grpc"}))
      ->capture_default_str();
  add_spin(app, &spin_us);
}

}  // namespace conclave
