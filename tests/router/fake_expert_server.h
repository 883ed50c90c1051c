// An expert server whose expert e says every row times (e + 1), rounded to the wire's type: enough
// to see whether each answer ended where it belongs. It can also be told to misbehave.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "absl/status/status.h"
#include "common/rows.h"
#include "kernels/row_codec.h"
#include "router/transport_loopback.h"

namespace conclave {

class FakeExpertServer final : public LoopbackServer {
 public:
  // What to do wrong; all of it is off by default.
  struct Tricks {
    absl::Status status;         // every leg is answered with it
    int num_extra_bytes = 0;     // answers are longer than asked, or shorter
    int32_t nan_of_expert = -1;  // its rows end in a NaN
  };

  Tricks tricks;
  std::vector<LegRequest> heard;  // every leg; its spans are valid as long as the caller's step is

  void submit(const LegRequest& request, LegReply* reply) override {
    heard.push_back(request);
    queue_.push_back({request, reply});
  }

  bool run() override {
    const bool answered = !queue_.empty();
    for (const Queued& queued : queue_) answer(queued.request, queued.reply);
    queue_.clear();
    return answered;
  }

 private:
  struct Queued {
    LegRequest request;
    LegReply* reply;
  };

  void answer(const LegRequest& request, LegReply* reply) const {
    reply->done = true;
    reply->status = tricks.status;
    if (!tricks.status.ok()) return;
    const size_t heard_bytes = packed_row_bytes(request.row_type, request.num_cols);
    const size_t said_bytes = packed_row_bytes(request.reply_type, request.num_cols);
    std::vector<std::byte> said(request.pick_expert.size() * said_bytes);
    Matrix<float> row(1, request.num_cols);
    for (size_t m = 0; m + 1 < request.pick_begin.size(); ++m) {
      for (int32_t p = request.pick_begin[m]; p < request.pick_begin[m + 1]; ++p) {
        unpack_rows(request.rows.data() + m * heard_bytes, request.row_type, row.view());
        speak(request.pick_expert[p], row.view());
        pack_rows(row.view(), request.reply_type,
                  said.data() + static_cast<size_t>(p) * said_bytes);
      }
    }
    said.resize(said.size() + static_cast<size_t>(tricks.num_extra_bytes));
    reply->rows = std::move(said);
  }

  void speak(int32_t expert, Rows<float> row) const {
    for (int32_t c = 0; c < row.num_cols; ++c) row.data[c] *= static_cast<float>(expert + 1);
    if (expert != tricks.nan_of_expert) return;
    row.data[row.num_cols - 1] = std::numeric_limits<float>::quiet_NaN();
  }

  std::vector<Queued> queue_;
};

}  // namespace conclave
