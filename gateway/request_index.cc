#include "gateway/request_index.h"

#include "common/check.h"

namespace conclave {

RequestIndex::QueueKey RequestIndex::queue_key(const TableEntry& entry) {
  return {-entry.request().priority, entry.arrival};
}

RequestIndex::DeadlineKey RequestIndex::deadline_key(const TableEntry& entry) {
  return {entry.request().deadline, entry.arrival};
}

TableEntry* RequestIndex::add(std::unique_ptr<TableEntry> entry) {
  TableEntry* const added = entry.get();
  added->arrival = next_arrival_++;
  const bool is_new = entries_.emplace(added->request().id, std::move(entry)).second;
  CHECK(is_new);
  queue_[queue_key(*added)] = added;
  deadlines_[deadline_key(*added)] = added;
  return added;
}

void RequestIndex::move_to_node(TableEntry* entry, ServerId node) {
  CHECK(!entry->at_node);
  queue_.erase(queue_key(*entry));
  entry->at_node = true;
  entry->was_at_node = true;
  entry->node = node;
  entry->handle = RunHandle{next_handle_++};
  runs_[entry->handle] = entry;
}

void RequestIndex::move_to_queue(TableEntry* entry) {
  CHECK(entry->at_node);
  runs_.erase(entry->handle);
  entry->at_node = false;
  queue_[queue_key(*entry)] = entry;
}

void RequestIndex::erase(TableEntry* entry) {
  if (entry->at_node) move_to_queue(entry);
  queue_.erase(queue_key(*entry));
  deadlines_.erase(deadline_key(*entry));
  const std::string id = entry->request().id;  // the entry's own goes with it
  entries_.erase(id);
  CHECK(queue_.size() + runs_.size() == entries_.size());
}

TableEntry* RequestIndex::find(const std::string& id) const {
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.get();
}

TableEntry* RequestIndex::find(RunHandle handle) const {
  const auto found = runs_.find(handle);
  return found == runs_.end() ? nullptr : found->second;
}

TableEntry* RequestIndex::any() const {
  return entries_.empty() ? nullptr : entries_.begin()->second.get();
}

TableEntry* RequestIndex::first_due() const {
  return deadlines_.empty() ? nullptr : deadlines_.begin()->second;
}

absl::Time RequestIndex::next_deadline() const {
  return deadlines_.empty() ? absl::InfiniteFuture() : deadlines_.begin()->first.first;
}

}  // namespace conclave
