// A server or a client that is killed is noticed at once: its legs are UNAVAILABLE or answered to
// nobody, and a new one is found. A neighbour that writes nonsense loses its link and nothing else.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <ctime>

#include "tests/router/shm/shm_fixture.h"

namespace conclave {
namespace {

using testing::HasSubstr;
using Sent = SentByShm;

class ShmFaultsTest : public ShmFixture {};

std::string read_line(int fd) {
  std::string line;
  for (char letter = 0; read(fd, &letter, 1) == 1 && letter != '\n';) line += letter;
  return line;
}

void write_line(int fd, const std::string& line) {
  const std::string bytes = line + "\n";
  EXPECT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
}

// A child process that serves until it is killed; it tells its endpoint through a pipe.
class ServingChild {
 public:
  ServingChild() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      Engine engine;
      engine.handler().keep(true);
      write_line(ends[1], engine.server().endpoint());
      pause();
      _exit(0);
    }
    endpoint_ = read_line(ends[0]);
    close(ends[0]);
    close(ends[1]);
  }
  ~ServingChild() { kill(); }

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(std::exchange(pid_, 0), nullptr, 0);
  }
  const std::string& endpoint() const { return endpoint_; }

 private:
  pid_t pid_ = 0;
  std::string endpoint_;
};

// So few that one more can be opened.
class FewDescriptors {
 public:
  FewDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const int lowest_free = dup(0);
    close(lowest_free);
    rlimit few = before_;
    few.rlim_cur = static_cast<rlim_t>(lowest_free) + 1;
    setrlimit(RLIMIT_NOFILE, &few);
  }
  ~FewDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(ShmFaultsTest, WithoutDescriptorsItWaitsAndDoesNotSpin) {
  Engine engine;
  {
    const FewDescriptors few;
    const auto client = connect_to(*ShmEndpoint::parse(engine.server().endpoint()));
    ASSERT_TRUE(client.ok()) << client.status();
    const std::clock_t before = std::clock();
    usleep(500'000);
    EXPECT_LT(std::clock() - before, CLOCKS_PER_SEC / 10);
  }
  const auto transport = connect(engine.server().endpoint());
  EXPECT_TRUE(wait_for_link(transport.get()));
}

TEST_F(ShmFaultsTest, AKilledServerIsNoticedAtOnce) {
  ServingChild child;
  const auto transport = connect(child.endpoint());
  ASSERT_TRUE(wait_for_link(transport.get()));
  Sent& sent = send(transport.get());
  EXPECT_FALSE(transport->wait(clock_.now() + absl::Milliseconds(20)));
  std::thread killer([&] {
    usleep(20'000);
    child.kill();
  });
  // No time limit: the hang-up alone ends the wait.
  EXPECT_TRUE(transport->wait(absl::InfiniteFuture()));
  killer.join();
  EXPECT_EQ(sent.reply.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(sent.reply.status.message()), HasSubstr("server 3"));
  EXPECT_FALSE(transport->reaches(kServer));

  Engine engine;
  transport->set_servers({{{.id = kServer, .endpoint = engine.server().endpoint()}}});
  ASSERT_TRUE(wait_for_link(transport.get()));
  EXPECT_TRUE(status_of(transport.get(), send(transport.get())).ok());
}

TEST_F(ShmFaultsTest, AKilledClientIsForgotten) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();  // before there are threads
  if (child == 0) {
    const auto transport = connect(read_line(ends[0]));
    if (!wait_for_link(transport.get())) _exit(1);
    send(transport.get());
    pause();
    _exit(0);
  }
  Engine engine;
  engine.handler().keep(true);
  const std::string endpoint = engine.server().endpoint();
  write_line(ends[1], endpoint);
  engine.handler().wait_for_kept(1);
  EXPECT_EQ(engine.server().num_links(), 1);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return engine.server().num_links() == 0; }));
  engine.answer_one();  // to nobody
  engine.handler().keep(false);
  const auto transport = connect(endpoint);
  ASSERT_TRUE(wait_for_link(transport.get()));
  EXPECT_TRUE(status_of(transport.get(), send(transport.get())).ok());
}

// Somebody of this user who finds the socket and does not keep to the rules.
class RudeClient {
 public:
  explicit RudeClient(const std::string& endpoint)
      : bell_(*SharedDoorbell::create(absl::ZeroDuration())),
        socket_(*connect_to(*ShmEndpoint::parse(endpoint))) {}

  void greet() { ASSERT_TRUE(ShmLink::say_hello(socket_.get(), *bell_).ok()); }
  void say(const std::string& bytes) {
    ASSERT_TRUE(send_message(socket_.get(), bytes.data(), bytes.size(), {}).ok());
  }
  std::unique_ptr<ShmLink> join() {
    absl::StatusOr<std::unique_ptr<ShmLink>> link = absl::UnavailableError("not yet");
    while (absl::IsUnavailable(link.status())) link = ShmLink::join(&socket_);
    return *std::move(link);
  }
  bool is_hung_up(int socket) {
    for (int i = 0; i < 10'000; ++i) {
      const auto message = receive_message(socket, 100);
      if (message.status().message() == "the other side has gone") return true;
      usleep(1000);
    }
    return false;
  }
  int socket() const { return socket_.get(); }

 private:
  std::unique_ptr<SharedDoorbell> bell_;
  UniqueFd socket_;
};

TEST_F(ShmFaultsTest, NeighboursThatAreRude) {
  Engine engine;
  const auto transport = connect(engine.server().endpoint());
  ASSERT_TRUE(wait_for_link(transport.get()));
  for (const std::string& bytes : {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(24, '\0')}) {
    RudeClient client(engine.server().endpoint());
    client.say(bytes);
    EXPECT_TRUE(client.is_hung_up(client.socket()));
  }
  RudeClient silent(engine.server().endpoint());  // says nothing at all
  RudeClient liar(engine.server().endpoint());
  liar.greet();
  const auto link = liar.join();
  std::byte* const record = link->writer()->reserve(7);
  std::memset(record, 0xff, 7);
  link->writer()->commit();
  link->other_bell()->ring();
  EXPECT_TRUE(liar.is_hung_up(link->socket()));
  EXPECT_EQ(engine.server().num_broken_links(), 1);
  EXPECT_TRUE(status_of(transport.get(), send(transport.get())).ok());
}

}  // namespace
}  // namespace conclave
