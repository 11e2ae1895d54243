"""Whether what is deployed agrees with the services: settings, metrics, ports, times, and that nothing runs with rights that
it does not need. Run by `deploy/check`."""

import json
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
SERVICES = ["auth-service", "cart-service", "order-service"]
# The gateway's address among the containers.
GATEWAY = "${INNER_NETWORK:-172.31.250}.2"
# How long the services give to requests under way: shared/src/server.
UNDER_WAY = 20
mistakes = []


def expect(condition, mistake):
    if not condition:
        mistakes.append(mistake)


def sources(*crates):
    return "\n".join(path.read_text() for crate in crates for path in sorted((ROOT / crate / "src").rglob("*.rs")))


def seconds(duration):
    units = {"s": 1, "m": 60}
    return int(duration[:-1]) * units[duration[-1]]


def settings_exist(where, names, crate):
    text = sources("shared", crate)
    for name in names:
        expect(f'"{name.removesuffix("_FILE")}"' in text, f"{where}: no source of {crate} reads {name}")


def fits(where, service, hash_threads, limit_mib):
    """A password hash takes 19 MiB; what the program needs beside is measured to be below 100 MiB."""
    expect(hash_threads > 0 or service != "auth-service", f"{where}: HASH_THREADS would follow the machine, not the limit")
    expect(100 + 19 * hash_threads <= limit_mib, f"{where}: {hash_threads} hashes do not fit into {limit_mib} MiB")


def metrics_exist():
    text = sources("shared", *SERVICES)
    files = sorted((DEPLOY / "observability").rglob("*.json")) + [DEPLOY / "observability/prometheus/alerts.yaml"]
    for file in files:
        named = set(re.findall(r"\broam_[a-z_]+", file.read_text()))
        expect(named, f"{file}: names no metric")
        for metric in named:
            name = re.sub(r"_(bucket|sum|count)$", "", metric)
            expect(f'"{name}"' in text, f"{file.relative_to(ROOT)}: no service exports {name}")


# What must be seen without a query of one's own.
SHOWN = """roam_logins_total roam_refreshes_total roam_revocation_lag_seconds roam_http_request_seconds roam_hash_queue
roam_backchannel_logouts_total roam_backchannel_logout_queue roam_database_pool_wait_seconds"""


def dashboards():
    shown = ""
    for file in sorted((DEPLOY / "observability/grafana/dashboards").glob("*.json")):
        dashboard = json.loads(file.read_text())
        ids = [panel["id"] for panel in dashboard["panels"]]
        expect(len(ids) == len(set(ids)), f"{file}: two panels have one id")
        for panel in dashboard["panels"]:
            expect(panel["datasource"]["uid"] == "prometheus", f"{file}: {panel['title']}: an unknown source")
            for target in panel["targets"]:
                shown += target["expr"] + "\n"
                expect(re.search(r"\b(roam_[a-z_]+|up)\b", target["expr"]), f"{file}: {panel['title']}: asks nothing")
    for metric in SHOWN.split():
        expect(re.search(rf"\b{metric}(_bucket)?\b", shown), f"dashboards: {metric} is shown nowhere")


def collector():
    config = yaml.safe_load((DEPLOY / "observability/otel-collector.yaml").read_text())
    for name, pipeline in config["service"]["pipelines"].items():
        for kind in ("receivers", "processors", "exporters"):
            for part in pipeline[kind]:
                expect(part in config[kind], f"otel-collector.yaml: {name}: there is no {part} in {kind}")


def compose():
    file = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    expect("name" not in file and "version" not in file, "docker-compose.yml: Compose 1.29 takes neither name nor version")
    rest = int(re.search(r"\$\{GATEWAY_REST:=(\d+)s\}", (DEPLOY / "gateway/run").read_text())[1])
    for name, service in file["services"].items():
        expect(service.get("read_only"), f"docker-compose.yml: {name} can write to its image")
        expect(service.get("cap_drop") == ["ALL"], f"docker-compose.yml: {name} keeps capabilities")
        expect("no-new-privileges:true" in service.get("security_opt", []), f"docker-compose.yml: {name} may gain rights")
        expect("mem_limit" in service and "pids_limit" in service, f"docker-compose.yml: {name} has no limits")
        expect(not service.get("privileged"), f"docker-compose.yml: {name} is privileged")
        for variable, value in (service.get("environment") or {}).items():
            secret = re.search("SECRET|PASSWORD|KEY|DATABASE_URL|REDIS_URL", variable)
            file_or_none = variable.endswith("_FILE") or not secret
            expect(file_or_none, f"docker-compose.yml: {name}: {variable} may be a secret, and is no file: {value}")
        if name in SERVICES:
            environment = service["environment"]
            threads = environment.get("HASH_THREADS", "0").removeprefix("${HASH_THREADS:-").removesuffix("}")
            fits(f"docker-compose.yml: {name}", name, int(threads), int(service["mem_limit"].removesuffix("m")))
            settings_exist(f"docker-compose.yml: {name}", environment, name)
            if '"TRUSTED_PROXIES"' in sources(name):
                known = environment.get("TRUSTED_PROXIES")
                expect(known == GATEWAY, f"docker-compose.yml: {name}: without the gateway in TRUSTED_PROXIES, all callers are one")
            drain = seconds(environment["DRAIN"])
            expect(rest > drain, f"{name}: the gateway asks again after {rest} s, within DRAIN={drain}s")
            grace = seconds(service["stop_grace_period"])
            expect(grace >= drain + UNDER_WAY + 5, f"{name}: stop_grace_period {grace} s is too short")
            expect(service["deploy"]["replicas"] == 2, f"docker-compose.yml: {name} has not two replicas")


def kubernetes():
    documents = []
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        documents += [(file.name, document) for document in yaml.safe_load_all(file.read_text())]
    of = lambda kind: [document for _, document in documents if document["kind"] == kind]
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    apart = {"kustomization.yaml", "migrations.yaml", "secrets.template.yaml"}
    expect(set(listed) == {name for name, _ in documents} - apart, "kustomization.yaml does not list what is there")
    configuration = of("ConfigMap")[0]["data"]
    keys = {secret["metadata"]["name"]: set(secret["stringData"]) for secret in of("Secret")}
    for secret in of("Secret"):
        for key, value in secret["stringData"].items():
            placeholder = re.fullmatch(r"[A-Z_]+|\w+://\w*:PASSWORD@HOST:\d+/\w+(\?sslmode=verify-full)?", value)
            expect(placeholder, f"secrets.template.yaml: {key} looks like a secret")
    names = lambda kind: {document["metadata"]["name"] for document in of(kind)}
    for kind in ("Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"):
        expect(names(kind) == set(SERVICES), f"kubernetes: each service has a {kind}, found {names(kind)}")
    expect(names("Job") == {f"{name}-migrations" for name in SERVICES}, "kubernetes: each service has a migration")
    for workload in of("Deployment") + of("Job"):
        name = workload["metadata"]["name"]
        pod = workload["spec"]["template"]["spec"]
        container = pod["containers"][0]
        service = name.removesuffix("-migrations")
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        settings_exist(f"kubernetes: {name}", environment, service)
        for variable, value in environment.items():
            if variable.endswith("_FILE"):
                key = value.removeprefix("/run/secrets/")
                expect(key in keys[service], f"kubernetes: {name}: its secret has no {key}")
        rights = container["securityContext"]
        expect(rights["readOnlyRootFilesystem"] and not rights["allowPrivilegeEscalation"], f"kubernetes: {name}: rights")
        expect(rights["capabilities"] == {"drop": ["ALL"]}, f"kubernetes: {name} keeps capabilities")
        expect(pod["securityContext"]["runAsNonRoot"], f"kubernetes: {name} may run as root")
        limit = int(container["resources"]["limits"]["memory"].removesuffix("Mi"))
        if workload["kind"] == "Deployment":
            fits(f"kubernetes: {name}", service, int(environment.get("HASH_THREADS", "0")), limit)
        expect(workload["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/part-of"] == "roam", f"{name}: label")
    settings_exist("kubernetes: configuration.yaml", set(configuration) - {"CART_URL"}, "cart-service")
    settings_exist("kubernetes: configuration.yaml", {"CART_URL"}, "order-service")
    settings_exist("kubernetes: configuration.yaml", {"TRUSTED_PROXIES"}, "auth-service")
    expect(configuration.get("TRUSTED_PROXIES"), "kubernetes: configuration.yaml: without TRUSTED_PROXIES, all callers are one")
    ports = {document["metadata"]["name"]: document["spec"]["ports"][0]["port"] for document in of("Service")}
    for deployment in of("Deployment"):
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        pod = spec["template"]["spec"]
        grace, drain = pod["terminationGracePeriodSeconds"], seconds(configuration["DRAIN"])
        expect(grace >= drain + UNDER_WAY + 5, f"kubernetes: {name}: terminationGracePeriodSeconds {grace} is too short")
        expect(spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, f"kubernetes: {name}: a rollout takes pods away")
        expect(pod["containers"][0]["ports"][0]["containerPort"] == ports[name], f"kubernetes: {name}: its ports differ")
        labels = spec["template"]["metadata"]["labels"].items()
        for kind in ("Service", "PodDisruptionBudget"):
            document = next(found for found in of(kind) if found["metadata"]["name"] == name)
            selector = document["spec"]["selector"]
            expect(selector.get("matchLabels", selector).items() <= labels, f"kubernetes: {kind} {name} selects nothing")
    ingress(of("Ingress"))


def paths_of(service):
    """Each path that a service answers, as its sources name it."""
    texts = [path.read_text() for path in (ROOT / service / "src/endpoints").rglob("*.rs")]
    if any("relying_party::endpoints" in text for text in texts):
        texts.append((ROOT / "shared/src/relying_party/endpoints/mod.rs").read_text())
    text = "\n".join(texts)
    named = re.findall(r"""(?:#\[(?:get|post|put|delete)|web::resource|\.route|\bonly)\("(/[^"]*)\"""", text)
    assert len(named) > 10, f"{service}: its paths are not read"
    return set(named) | {"/assets/style.css", "/openapi.json", "/docs/", "/healthz", "/readyz", "/metrics"}


def is_within(path, rule):
    """As Kubernetes compares: `Prefix` by whole elements."""
    return path == rule["path"] or rule["pathType"] == "Prefix" and path.startswith(rule["path"] + "/")


def ingress(documents):
    hidden = re.compile("/(metrics|healthz|readyz|checkouts|backchannel-logout)(/|$)")
    for service in SERVICES:
        rules = []
        for document in documents:
            limited = "nginx.ingress.kubernetes.io/whitelist-source-range" in document["metadata"]["annotations"]
            for host in document["spec"]["rules"]:
                found = [rule for rule in host["http"]["paths"] if rule["backend"]["service"]["name"] == service]
                rules += [(rule, limited) for rule in found]
        paths = paths_of(service)
        for path in paths:
            by = [(rule, limited) for rule, limited in rules if is_within(path, rule)]
            expect(bool(by) != bool(hidden.match(path)), f"ingress.yaml: {service}: {path} is let in: {bool(by)}")
            outside = [rule for rule, limited in by if not limited]
            expect(not path.startswith("/admin/") or not outside, f"ingress.yaml: {path} is let in from anywhere")
        for rule, _ in rules:
            text = f"ingress.yaml: {service}: {rule['pathType']} {rule['path']}"
            expect(rule["pathType"] in ("Exact", "Prefix"), f"{text}: an unknown type")
            expect(rule["path"] != "/" or rule["pathType"] == "Exact", f"{text} lets everything in")
            expect(any(is_within(path, rule) for path in paths), f"{text} leads to nothing")
    hosts = [host for document in documents for host in document["spec"]["rules"]]
    known = {rule["backend"]["service"]["name"] for host in hosts for rule in host["http"]["paths"]}
    expect(known == set(SERVICES), f"ingress.yaml: leads to {known}")


for part in (metrics_exist, dashboards, collector, compose, kubernetes):
    part()
print("\n".join(mistakes))
sys.exit(1 if mistakes else 0)
