package main

// Help is what "palisade up --help" shows beside the flags; likewise below. Every verb shows its examples.
func (*upCmd) Help() string {
	return `Examples:
  palisade up examples/shop                  the shop, its own messages among a line per request
  palisade up -q                             the model here, without a line per request
  palisade up --format json > events.jsonl   one event per line, in OCSF`
}

// Help shows examples.
func (*edgeCmd) Help() string {
	return `Development providers are refused here: tokens come from the providers of the model. In a mesh on several hosts
control feeds it, and it has no model of its own.

Examples:
  palisade edge /etc/palisade
  palisade edge --control 10.0.0.5:9950 --trust-domain shop.example --join-token-file token
  palisade edge --state /var/lib/palisade --log-format json /etc/palisade`
}

// Help shows examples.
func (*validateCmd) Help() string {
	return `Examples:
  palisade validate                          palisade.yaml here
  palisade validate fleet/ secrets.yaml      several files are one model
  palisade validate --production             as palisade edge would see it
  palisade validate --format json            findings as data`
}

// Help shows examples.
func (*tryCmd) Help() string {
	return `Exit code 0: it would pass; 1: it would be refused; 2: no decision.

Examples:
  palisade try 'GET /orders/1' --as user-1 --role customer
  palisade try 'DELETE /orders/1' --as root-1 --role admin --amr mfa
  palisade try 'POST /orders' --as user-1 --role customer -d '{"product": 1, "count": 2}'
  palisade try 'GET https://pay.shop.localhost/' --from 203.0.113.7`
}

// Help shows examples.
func (*explainCmd) Help() string {
	return `The id stands in X-Request-Id of every answer and at the end of every line of palisade up.

Examples:
  palisade explain 01a20506-0392-7200
  palisade explain 01a20506-0392-7200 examples/shop --format json
  palisade explain 4bf92f3577b34da6a3ce929d0e0e4736   a trace
  palisade explain 01a20506-0392-7200 --control control.example:9950 --bundle bundle.json --token-file token`
}

// Help shows examples.
func (*eventsCmd) Help() string {
	return `Asks what runs on the state directory, or control on another host; where nothing runs, what was left there.
Fields: time duration status id trace kind side outcome reason service user caller route method host path address.

Examples:
  palisade events                            the newest 20
  palisade events service:orders outcome:denied --since 7d
  palisade events 'status:>=500 duration:>100ms -path:/health*' --format table
  palisade events '"card declined"'          said anywhere in the event
  palisade events --follow --refused         refusals as they come
  palisade events --count user outcome:denied --since 1d
  palisade events --count status --per 1h --format csv
  palisade events --kind act                 who revoked, applied, was refused
  palisade events --control control.example:9950 --bundle bundle.json --token-file token
  palisade events --format json -n 0 | jq .http_response.code`
}

// Help shows examples.
func (*tokenCmd) Help() string {
	return `Examples:
  palisade token --as user-1 --role customer
  palisade token --as root-1 --role admin --amr mfa --lifetime 10m
  curl -H "Authorization: Bearer $(palisade token --as user-1 --role customer)" https://shop.localhost:8443/orders`
}

// Help shows examples.
func (*reloadCmd) Help() string {
	return `A gateway reads changed files by itself; this asks at once and tells what came of it. Exit code 1: refused,
the model before keeps serving.

Examples:
  palisade reload
  palisade reload examples/shop`
}

// Help shows examples.
func (*caCmd) Help() string {
	return `Examples:
  palisade ca > local-ca.pem
  curl --cacert "$(palisade ca --path)" https://shop.localhost:8443/`
}

// Help shows examples.
func (*snapshotCmd) Help() string {
	return `Examples:
  palisade snapshot
  palisade snapshot --production > model.json   as the console of control takes it
  palisade snapshot examples/shop | jq '.routes[].path'`
}

// Help shows examples.
func (*planCmd) Help() string {
	return `Without --from it compares with what control has put in force, or the gateway serves, that runs on the state
directory, or with --control on another host.
Exit code 0: nothing is permitted that was not; 1: something is, or that cannot be told; 2: no plan.

Examples:
  palisade plan new/ --from old/             two models
  palisade plan new/ --from before.json      a model and what palisade snapshot printed
  palisade plan new/ --state .palisade       a model and the one that is in force
  palisade plan new/ --control control.example:9950 --bundle bundle.json --token-file token
  palisade plan new/ --from old/ --format json | jq '.changes[] | select(.kind == "widens")'`
}

// Help shows examples.
func (*exportCmd) Help() string {
	return `The model needs a mesh. What it says and the output cannot hold is told as a comment at its head and on
standard error.

Examples:
  palisade export kubernetes fleet/ | kubectl apply -f -
  palisade export compose fleet/ > compose.override.yaml
  palisade export nftables --host 10.0.0.5 fleet/ | nft -f -`
}

// Help shows examples.
func (*kubernetesCmd) Help() string {
	return `Examples:
  palisade export kubernetes fleet/ | kubectl apply -f -
  palisade export kubernetes --namespace shop --label app fleet/
  palisade export kubernetes --select palisade-edge=app=gateway fleet/
  palisade export kubernetes --cidr pay.example.com=1.2.3.0/24 fleet/`
}

// Help shows examples.
func (*composeCmd) Help() string {
	return `Services of the Compose file have the names of the model's. Docker Compose 2.24 or later.

Examples:
  palisade export compose > compose.override.yaml
  palisade export compose --image 'registry.example/palisade:${VERSION}' --mount ./fleet fleet/ > compose.override.yaml`
}

// Help shows examples.
func (*nftablesCmd) Help() string {
	return `Examples:
  palisade export nftables --host 10.0.0.5 fleet/ > /etc/nftables.d/palisade.nft
  palisade export nftables --host localhost --sidecar-user palisade --outbound orders=15001 fleet/ | nft -f -
  nft list counters table inet palisade      what was dropped`
}

// Help shows examples.
func (*natsCmd) Help() string {
	return `If the file that broker_keys names is not there, it is made. See docs/brokers.md.

Examples:
  palisade export nats bus > bus-auth.conf
  palisade export nats bus /etc/palisade > /etc/nats/bus-auth.conf`
}

// Help shows examples.
func (*svidCmd) Help() string {
	return `Writes svid.pem, key.pem (mode 0600) and bundle.pem, each as a whole. Run it as the user of the service: what the
Workload API of a sidecar gives depends on who asks. Without --watch it writes once, which does for an hour.

Examples:
  palisade svid --write /run/svid --socket /var/lib/palisade/orders/workload.sock
  palisade svid --write /run/svid --socket /run/palisade/workload.sock --watch --reload 'nginx -s reload'`
}

// Help shows examples.
func (*helpCmd) Help() string {
	return `Examples:
  palisade help
  palisade help export nats`
}

// Help shows examples.
func (*schemaCmd) Help() string {
	return `Editors with YAML support complete and check palisade.yaml by it.

Examples:
  palisade schema > palisade.schema.json`
}

// Help shows examples.
func (*versionCmd) Help() string {
	return `Examples:
  palisade version`
}
