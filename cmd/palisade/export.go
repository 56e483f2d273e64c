package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/export"
	"github.com/palisade-security/palisade/model"
)

type planCmd struct {
	modelArgs
	reachFlags
	From   string `help:"Model, or snapshot in a .json file, to compare with (default: what is in force where control or the gateway runs)." placeholder:"PATH"`
	Replay moment `name:"replay-since" help:"Decide again what was used since then, and show what would newly be denied or allowed: 36h or 7d ago, or a date." placeholder:"WHEN"`
}

func (c *planCmd) Run(e *environment) error {
	widens, err := app.Plan(e.ctx, c.on(e, c.Model...), app.PlanQuery{From: c.From, Replay: c.Replay.Time})
	if err == nil && widens {
		return errRefused
	}
	return err
}

type exportCmd struct {
	Kubernetes kubernetesCmd `cmd:"" help:"Write NetworkPolicies."`
	Compose    composeCmd    `cmd:"" help:"Write an overlay for a Compose file."`
	Nftables   nftablesCmd   `cmd:"" help:"Write the ruleset of one host."`
	Nats       natsCmd       `cmd:"" help:"Write what makes a NATS server ask its sidecar who may publish and subscribe."`
}

type natsCmd struct {
	Service string `arg:"" help:"The broker, as the model names it."`
	modelArgs
}

func (c *natsCmd) Run(e *environment) error { return app.ExportNATS(e.with(c.Model...), c.Service) }

type kubernetesCmd struct {
	modelArgs
	Namespace   string   `help:"Where services run whose workloads name no namespace, the edge and control (default: the fleet's name)." placeholder:"NAME"`
	Label       string   `help:"Label whose value names the service of a pod (default: ${default})." default:"app.kubernetes.io/name" placeholder:"KEY"`
	Select      []string `help:"Labels of the pods of a service, of palisade-edge or of palisade-control; repeat for several." placeholder:"NAME=KEY=VALUE" sep:"none"`
	CIDR        []string `name:"cidr" help:"Address range of a host outside; repeat for several." placeholder:"HOST=RANGE" sep:"none"`
	SidecarPort int      `help:"Where sidecars take calls for which the model says nothing." default:"9443"`
}

func (c *kubernetesCmd) Run(e *environment) error {
	o := export.KubernetesOptions{
		Namespace: c.Namespace, Label: c.Label, SidecarPort: c.SidecarPort,
		Select: map[string]map[string]string{}, CIDRs: map[string][]netip.Prefix{},
	}
	for _, text := range c.Select {
		name, label, found := strings.Cut(text, "=")
		key, value, pair := strings.Cut(label, "=")
		if !found || !pair {
			return fmt.Errorf("--select %s: expected NAME=KEY=VALUE", text)
		}
		if o.Select[name] == nil {
			o.Select[name] = map[string]string{}
		}
		o.Select[name][key] = value
	}
	for _, text := range c.CIDR {
		host, at, found := strings.Cut(text, "=")
		prefix, err := netip.ParsePrefix(at)
		if !found || err != nil {
			return fmt.Errorf("--cidr %s: expected HOST=RANGE, such as pay.example.com=1.2.3.0/24", text)
		}
		o.CIDRs[host] = append(o.CIDRs[host], prefix)
	}
	return app.Export(e.with(c.Model...), func(s *model.Snapshot) (*export.Result, error) { return export.Kubernetes(s, o) })
}

type composeCmd struct {
	modelArgs
	Image string `help:"Container image of palisade." default:"palisade"`
	Mount string `help:"Folder with the model, as seen from the Compose file (default: ${default})." default:"." placeholder:"DIR"`
}

func (c *composeCmd) Run(e *environment) error {
	o := export.ComposeOptions{Image: c.Image, Model: c.Mount}
	return app.Export(e.with(c.Model...), func(s *model.Snapshot) (*export.Result, error) { return export.Compose(s, o) })
}

type nftablesCmd struct {
	modelArgs
	Host        []string `required:"" help:"What addresses in the model call the host; repeat for several. localhost is every loopback address." placeholder:"NAME" sep:"none"`
	SidecarUser string   `help:"User or number that sidecars run as (default: ${default})." default:"palisade" placeholder:"USER"`
	Outbound    []string `help:"Ports on loopback at which a service finds its sidecar; repeat for several." placeholder:"SERVICE=PORT[-PORT]" sep:"none"`
	LogGroup    int      `help:"NFLOG group that gets what is dropped." default:"5"`
}

func (c *nftablesCmd) Run(e *environment) error {
	o := export.NftablesOptions{Hosts: c.Host, SidecarUser: c.SidecarUser, LogGroup: c.LogGroup, Outbound: map[string][]string{}}
	for _, text := range c.Outbound {
		name, ports, found := strings.Cut(text, "=")
		if !found {
			return fmt.Errorf("--outbound %s: expected SERVICE=PORT or SERVICE=PORT-PORT", text)
		}
		o.Outbound[name] = append(o.Outbound[name], ports)
	}
	return app.Export(e.with(c.Model...), func(s *model.Snapshot) (*export.Result, error) { return export.Nftables(s, o) })
}
