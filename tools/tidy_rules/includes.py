"""Who may include whom: the floors of cmake/floors.cmake, and headers that logic does without."""

from tidy_rules.tree import BESIDE

# Each process is its own house: what two doors share lies in another folder under services/.
PROCESSES = ("gateway", "attention_node", "expert_server", "conclave")

# Logic takes these from the Clock, Executor and Transport that it is given.
MAY_MEET_THE_WORLD = ("common", "services", "router_shm")
WORLD = {
    "thread": "threads come from an Executor",
    "future": "threads come from an Executor",
    "pthread.h": "threads come from an Executor",
    "chrono": "time comes from a Clock",
    "ctime": "time comes from a Clock",
    "time.h": "time comes from a Clock",
    "absl/time/clock.h": "time comes from a Clock",
    "sys/socket.h": "the network is behind a Transport",
    "netinet/in.h": "the network is behind a Transport",
    "arpa/inet.h": "the network is behind a Transport",
}


def check(tree):
    for source in tree.sources:
        if not source.is_cpp:
            continue
        for line, bracket, included in source.includes:
            for message in messages(tree, source, bracket, included):
                yield source.path, line, message


def floor_of(path):
    """The name in cmake/floors.cmake: a folder, but transports have floors of their own."""
    for folder in ("router/shm", "router/wire"):
        if path.startswith(folder + "/"):
            return folder.replace("/", "_")
    return path.split("/", 1)[0]


def messages(tree, source, bracket, included):
    folder = floor_of(included)
    floor = floor_of(source.path)
    if included in ("cassert", "assert.h"):
        yield "CHECK of common/check.h takes the place of assert"
    if bracket == '"' and "/" not in included:
        yield f'includes begin at the root: "{source.path.rsplit("/", 1)[0]}/{included}"'
    if source.folder not in tree.floors:
        return
    if folder in BESIDE:
        yield f"{source.folder}/ may not use {folder}/"
    elif (folder in tree.floors or folder == "proto") and folder != floor:
        if folder not in tree.floors[floor]:
            here, there = floor.replace("_", "/"), folder.replace("_", "/")
            yield f"{here}/ may not use {there}/ (cmake/floors.cmake)"
    if included.startswith("grpcpp/") and "proto" not in tree.floors[floor]:
        yield f"<{included}> in logic: gRPC is for those who may use proto/"
    if included in WORLD and floor not in MAY_MEET_THE_WORLD:
        yield f"<{included}> in logic: {WORLD[included]}"
    here, there = process_of(source.path), process_of(included)
    if here and there and here != there:
        yield f"the process {here} may not use the process {there}"


def process_of(path):
    parts = path.split("/")
    is_process = len(parts) > 2 and parts[0] == "services" and parts[1] in PROCESSES
    return parts[1] if is_process else None
