package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/palisade-security/palisade/app"
)

// joinFlags say how a proxy finds control and proves what it is.
type joinFlags struct {
	Control         []string `help:"Where control is; several, separated by commas." placeholder:"HOST:PORT" env:"PALISADE_CONTROL"`
	TrustDomain     string   `help:"Trust domain of the fleet." placeholder:"NAME" env:"PALISADE_TRUST_DOMAIN"`
	JoinTokenFile   string   `help:"File with a join token, of palisade join; - is standard input." placeholder:"PATH" env:"PALISADE_JOIN_TOKEN_FILE"`
	Bundle          string   `help:"File with the trust bundle by which control is known at first." placeholder:"PATH" env:"PALISADE_BUNDLE"`
	Node            string   `help:"Name of this host (default: its own)." placeholder:"NAME" env:"PALISADE_NODE"`
	NodeCertificate string   `help:"Certificate of this host, PEM." placeholder:"PATH" env:"PALISADE_NODE_CERTIFICATE"`
	NodeKey         string   `help:"Its key, PEM." placeholder:"PATH" env:"PALISADE_NODE_KEY"`
	KubernetesToken string   `help:"File with a projected service account token." placeholder:"PATH" env:"PALISADE_KUBERNETES_TOKEN"`
	Issuer          string   `help:"Workload API of this host that issues identities in place of control (mesh.issuer.workload_api): unix:///PATH." placeholder:"ADDRESS" env:"PALISADE_ISSUER"`
}

func (f *joinFlags) join() *app.Joining {
	return &app.Joining{
		Control: f.Control, TrustDomain: f.TrustDomain, TokenFile: f.JoinTokenFile, Bundle: f.Bundle, Node: f.Node,
		NodeCertificate: f.NodeCertificate, NodeKey: f.NodeKey, KubernetesToken: f.KubernetesToken, Issuer: f.Issuer, Input: os.Stdin,
	}
}

// placeFlags say where a sidecar is found.
type placeFlags struct {
	Service     string `required:"" help:"Service of the model." placeholder:"NAME" env:"PALISADE_SERVICE"`
	Listen      string `help:"Where calls of others come (default: ${default})." default:":9443" placeholder:"HOST:PORT" env:"PALISADE_LISTEN"`
	Advertise   string `help:"Where others find that (default: the address of this host toward control)." placeholder:"HOST:PORT" env:"PALISADE_ADVERTISE"`
	WorkloadAPI string `name:"workload-api" help:"Unix socket of the SPIFFE Workload API (default: in the state directory; off: none)." placeholder:"PATH" env:"PALISADE_WORKLOAD_API"`
	Docker      string `help:"Unix socket of the Docker API, for services that the model declares by container." placeholder:"PATH" env:"PALISADE_DOCKER"`
	Admin       string `help:"Metrics and health (default: none)." placeholder:"HOST:PORT" env:"PALISADE_ADMIN"`
}

func (f *placeFlags) options() *app.SidecarOptions {
	return &app.SidecarOptions{Service: f.Service, Listen: f.Listen, Advertise: f.Advertise, Admin: f.Admin, WorkloadAPI: f.WorkloadAPI, Docker: f.Docker}
}

type sidecarCmd struct {
	placeFlags
	joinFlags
	Outbound []string `help:"Where the service finds a callee, in place of the callee's address on loopback; repeat for several." placeholder:"CALLEE=ADDRESS:PORT" sep:"none"`
	Hosts    string   `help:"File to write the names of callees to, as /etc/hosts." placeholder:"PATH"`
	Capture  uint16   `name:"capture-port" help:"Where palisade capture brings what the service asks, such as 15001 (default: nowhere)." placeholder:"PORT" env:"PALISADE_CAPTURE_PORT"`
}

func (c *sidecarCmd) Run(e *environment) error {
	e.slacken()
	o := c.options()
	o.Hosts, o.Capture, o.Outbound = c.Hosts, c.Capture, map[string]netip.AddrPort{}
	for _, text := range c.Outbound {
		name, address, _ := strings.Cut(text, "=")
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("--outbound %s: expected CALLEE=ADDRESS:PORT, such as payments=127.0.0.1:15001", text)
		}
		o.Outbound[name] = at
	}
	return app.Sidecar(e.ctx, e.with(), c.join(), o)
}

// Help shows examples.
func (*sidecarCmd) Help() string {
	return `It has no model: control says what it serves. State (default .palisade/NAME) is sealed, and enough to start
with control away; a join token is needed the first time alone.

Examples:
  palisade sidecar --service orders --control 10.0.0.5:9950 --trust-domain shop.example --join-token-file token
  PALISADE_CONTROL=10.0.0.5:9950 PALISADE_TRUST_DOMAIN=shop.example palisade sidecar --service orders --hosts /run/orders/hosts
  palisade sidecar --service orders --capture-port 15001 --hosts /run/orders/hosts   (see palisade capture)
  palisade sidecar --service orders --outbound payments=127.0.0.1:15001   (other flags from the environment)`
}
