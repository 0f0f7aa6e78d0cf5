#!/bin/sh
# Brings an API server of Kubernetes for `make cluster`, and the definitions of the operators' kinds that the chart uses; each in
# one pinned version, made from its published sources. Takes some ten minutes the first time. Needs etcd, go, mvn and Java 21.
# usage: fetch_cluster.sh [FOLDER]      default .cache/cluster
set -eu
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/go/bin
keda=v2.21.0
prometheus_operator=v0.95.2
controller_tools=v0.23.0
folder=${1:-.cache/cluster}
wanted=$(cat "$0" tools/cluster/go.mod tools/cluster/pom.xml | sha256sum | cut -c1-16)
if ! command -v etcd >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get install -qq --no-install-recommends -y etcd-server >/dev/null
fi
for program in etcd go mvn openssl; do
    command -v $program >/dev/null || {
        echo "make cluster needs $program (apt install etcd-server golang-go maven openssl)" >&2
        exit 1
    }
done
[ "$(cat "$folder/VERSION" 2>/dev/null)" != "$wanted" ] || exit 0

java=''
for each in java /usr/lib/jvm/*/bin/java; do
    found=$("$each" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
    [ "${found:-0}" -lt 21 ] || java=$each
done
[ -n "$java" ] || {
    echo "make cluster needs Java 21 or newer for the definition of Strimzi's topics" >&2
    exit 1
}

mkdir -p "$folder/crds"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

# the folder of a module's sources
sources() {
    go mod download -json "$1" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'
}

echo '  kube-apiserver'
cp tools/cluster/go.mod "$work"
version=$(sed -n 's/^require k8s.io\/kubernetes //p' "$work/go.mod")
minor=$(echo "$version" | cut -d. -f2)
names=k8s.io/component-base/version
(
    cd "$work"
    go mod tidy >tidy.log 2>&1 || {
        cat tidy.log >&2
        exit 1
    }
    go build -trimpath -o "$folder/kube-apiserver" \
        -ldflags "-s -w -X $names.gitVersion=$version -X $names.gitMajor=1 -X $names.gitMinor=$minor" \
        k8s.io/kubernetes/cmd/kube-apiserver
)

echo '  definitions of KEDA, prometheus-operator and Strimzi'
crds=$(sources "github.com/kedacore/keda/v2@$keda")/config/crd/bases
cp "$crds/keda.sh_scaledobjects.yaml" "$crds/keda.sh_triggerauthentications.yaml" "$folder/crds"

cp -r "$(sources "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring@$prometheus_operator")" "$work/monitoring"
chmod -R u+w "$work/monitoring"
GOBIN=$work go install "sigs.k8s.io/controller-tools/cmd/controller-gen@$controller_tools"
(
    cd "$work/monitoring"
    "$work/controller-gen" crd:crdVersions=v1,allowDangerousTypes=true paths=./v1 output:crd:dir="$work/crds"
)
cp "$work/crds/monitoring.coreos.com_servicemonitors.yaml" "$work/crds/monitoring.coreos.com_prometheusrules.yaml" "$folder/crds"

mvn -q -B -f tools/cluster/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/jars" >&2
"$java" -cp "$work/jars/*" io.strimzi.crdgenerator.CrdGenerator --yaml \
    io.strimzi.api.kafka.model.topic.KafkaTopic="$folder/crds/kafka.strimzi.io_kafkatopics.yaml"

chmod u+w "$folder/crds"/*
echo "$wanted" >"$folder/VERSION"
