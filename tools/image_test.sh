#!/usr/bin/env bash
# Build an image and run it as docs/deploy.md says, without a registry or a daemon: root, Debian 12.
# TARGET: cpu (the default), or cuda, which is run as far as it goes without a GPU.
# STEPS: training steps of the model in the CPU's image; few are enough to show that it works.
set -euo pipefail
cd "$(dirname "$0")/.."
W=${W:-/var/tmp/cc-serve-image} PORT=8000 STEPS=${STEPS:-2} TARGET=${TARGET:-cpu}
IMAGE=localhost/cc-serve:$TARGET
mkdir -p "$W"
{ command -v podman && command -v runc && command -v debootstrap; } >/dev/null || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends podman runc debootstrap >"$W/apt.log"
}
# runc, and these limits: crun and podman's own limits fail inside many virtual machines.
cat >"$W/containers.conf" <<'C'
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "host"
[engine]
runtime = "runc"
C
printf '[storage]\ndriver="overlay"\ngraphroot="%s/storage"\nrunroot="%s/run"\n' "$W" "$W" >"$W/storage.conf"
export CONTAINERS_CONF=$W/containers.conf CONTAINERS_STORAGE_CONF=$W/storage.conf

if ! podman image exists localhost/python-base; then
    [ -x "$W/rootfs/usr/bin/python3" ] || debootstrap --variant=minbase \
        --include=python3,python3-pip,python3-venv,ca-certificates bookworm "$W/rootfs" >"$W/debootstrap.log"
    rm -rf "$W"/rootfs/var/cache/apt/archives/*.deb
    tar -C "$W/rootfs" -c . | podman import -q - localhost/python-base
fi

# pip inside the build finds what pip finds outside: its files, and the folders that they and the environment name. The
# packages of an index in files lie beside it.
mapfile -t paths < <({ python3 -m pip config debug | sed -n 's/, exists: True//p'; python3 -m pip config list; } |
    sed -E "s,file://([^' ]*)/[^/' ]+/?,\\1,g" | grep -oE "/[^' ]+" | sort -u)
mounts=(-v /etc/ssl/certs:/etc/ssl/certs:ro)
for path in "${paths[@]}"; do
    [ -e "$path" ] && [[ $path != /etc/ssl/certs* ]] && mounts+=(-v "$path:$path:ro")
done
podman build --format docker --network=host --isolation=chroot --layers --target "$TARGET" "${mounts[@]}" \
    --build-arg BASE=localhost/python-base --build-arg "STEPS=$STEPS" \
    --build-arg "PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL:-}" --build-arg "PIP_FIND_LINKS=${PIP_FIND_LINKS:-}" \
    -t "$IMAGE" .
podman history --format '{{.Size}}\t{{.CreatedBy}}' "$IMAGE" | cut -c1-120

if [ "$TARGET" = cuda ]; then
    exec "${PYTHON:-python3}" -m tests.deploy.image_without_gpu "$IMAGE"
fi
if curl -s -o "$W/port" "http://127.0.0.1:$PORT"; then
    echo "port $PORT, on which the image listens, is taken" >&2
    exit 1
fi
trap 'podman rm -f -t 5 cc-serve >/dev/null 2>&1 || true' EXIT
podman run -d --name cc-serve --network=host --read-only --cap-drop=all --security-opt no-new-privileges \
    --shm-size 1g "$IMAGE" >/dev/null
"${PYTHON:-python3}" -m tests.deploy.image_client "http://127.0.0.1:$PORT" cc-serve
