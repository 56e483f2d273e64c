package main

// Help shows examples.
func (*controlCmd) Help() string {
	return `The first model given is put in force; later ones with palisade apply. Administrators come over the socket in the
state directory, or over HTTPS if the model names a provider (mesh.control.administrators).

Examples:
  palisade control /etc/palisade
  palisade control --state /var/lib/palisade --log-format json /etc/palisade
  palisade control --listen 10.0.0.5:9950 --reach 10.0.0.5:9950 /etc/palisade   one of several`
}

// Help shows examples.
func (*statusCmd) Help() string {
	return `Marked SOON is an SVID with less than a third of its life left: it should have been renewed at half.

Examples:
  palisade status examples/shop              a fleet that runs there
  palisade status --state /var/lib/palisade  control on this host
  palisade status --control control.example:9950 --bundle bundle.json --token-file token
  palisade status --format json | jq '.proxies[] | select(.current | not)'`
}

// Help shows examples.
func (*revokeCmd) Help() string {
	return `Returns when all proxies that are there have cut what is revoked off, and names those that have not.

Examples:
  palisade revoke service/payments --reason 'key on a lost laptop'
  palisade revoke edge/edge
  palisade revoke serial/1f0a4c              one certificate
  palisade revoke node/host-1                all that was issued on a host`
}

// Help shows examples.
func (*restoreCmd) Help() string {
	return `New identities are issued again; those from before stay refused.

Examples:
  palisade restore service/payments
  palisade restore node/host-1`
}

// Help shows examples.
func (*applyCmd) Help() string {
	return `Shows the plan, asks, tries the model on one proxy of each kind while it watches their errors, then gives it to
all; takes it back by itself if the first fare worse or any rejects it. One proxy is enough for that: --without names those
whose word does not count, by what is proven of them, their service.
Exit code 0: applied, or in force already; 1: taken back, or not confirmed; 2: error.

Examples:
  palisade apply new/                        asks on a terminal
  palisade apply new/ --yes --watch 2m --note 'refunds, ticket 4711'
  palisade apply new/ --without service/orders
  palisade apply --version 3f29c1a07be2      back to a model of the history
  palisade apply new/ --yes --control control.example:9950 --bundle bundle.json --token-file token`
}

// Help shows examples.
func (*historyCmd) Help() string {
	return `Examples:
  palisade history                           models, the newest first
  palisade history --acts                    who applied, revoked, let join, and was denied
  palisade history --format json`
}

// Help shows examples.
func (*joinCmd) Help() string {
	return `The token is printed once, on standard output; control keeps its hash. It ends with the fingerprint of control's
root, so that its bearer needs nothing else to know control.

Examples:
  (umask 077; palisade join service/orders > orders.token)
  palisade join edge/edge --ttl 10m --state /var/lib/palisade`
}

// Help shows examples.
func (*bundleCmd) Help() string {
	return `Proxies that prove themselves without a join token, and administrators on other hosts, know control by it.

Examples:
  palisade bundle --state /var/lib/palisade > bundle.json`
}

// Help shows examples.
func (*busServerCmd) Help() string {
	return `Writes cert.pem, key.pem, roots.pem and palisade.conf, which the configuration of a nats-server includes. The
certificate lives for 24 hours: --watch keeps it new, or run it every few hours; palisade status shows what is late. It needs
the state and the store of a control, not a control that runs.

Examples:
  palisade bus-server nats-1 --out /etc/nats/palisade --state /var/lib/palisade /etc/palisade
  palisade bus-server nats-1 --out /etc/nats/palisade --watch --reload 'nats-server --signal reload' /etc/palisade`
}
