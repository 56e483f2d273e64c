package main

import (
	"errors"
	"time"

	"github.com/palisade-security/palisade/app"
	"github.com/palisade-security/palisade/app/audit"
	"github.com/palisade-security/palisade/model"
)

type auditCmd struct {
	Verify  auditVerifyCmd  `cmd:"" help:"Prove that records are as they were written: exit 0 they are, 1 something is wrong, 2 not told."`
	Export  auditExportCmd  `cmd:"" help:"Write records with what proves them into a folder, for an auditor."`
	Witness auditWitnessCmd `cmd:"" help:"Sign the checkpoint of somebody else's ledger, as the second party."`
}

type auditVerifyCmd struct {
	Dir     string   `arg:"" optional:"" help:"What palisade audit export wrote, or the model beside whose state directory it is (default: the state directory, also while palisade runs)."`
	Store   string   `help:"Verify what several controls keep together: where the location of their PostgreSQL stands." placeholder:"env:NAME|file:PATH"`
	Since   moment   `help:"Only records of this long ago, such as 24h or 7d, or from a date on."`
	Key     string   `help:"Public key of the ledger, from elsewhere (default: the one that lies there, which proves less)." placeholder:"FILE"`
	Earlier string   `help:"Checkpoint that was kept: the records must go on from there." placeholder:"FILE"`
	Witness []string `help:"Public key of a witness that must have signed; repeat for several." placeholder:"FILE"`
}

func (c *auditVerifyCmd) Run(e *environment) error {
	o, export := e.with(), c.Dir
	if export != "" && hasModel(export) { // as for other verbs
		o, export = e.with(export), ""
	}
	exact, err := app.AuditVerify(e.ctx, o, export, c.Store, c.Since.Time, &audit.Trust{Key: c.Key, Earlier: c.Earlier, Witnesses: c.Witness})
	if err == nil && !exact {
		return errRefused
	}
	return err
}

type auditExportCmd struct {
	modelArgs
	Out     string `required:"" help:"New folder." placeholder:"DIR"`
	Store   string `help:"Export what several controls keep together: where the location of their PostgreSQL stands." placeholder:"env:NAME|file:PATH"`
	Since   moment `help:"Records of this long ago, such as 24h or 7d, or from a date on (default: all)."`
	Until   moment `help:"Records before then."`
	Earlier string `help:"Checkpoint that the auditor has: what holds the export against it is added." placeholder:"FILE"`
}

func (c *auditExportCmd) Run(e *environment) error {
	return app.AuditExport(e.ctx, e.with(c.Model...), c.Store, audit.Part{Since: c.Since.Time, Until: c.Until.Time}, c.Earlier, c.Out)
}

type auditWitnessCmd struct {
	Ledger      string        `arg:"" optional:"" help:"The ledger: an https:// URL below which its files are served, a copy of the folder, a mount of it, or an export."`
	Store       string        `help:"The ledger that several controls keep together: where the location of their PostgreSQL stands." placeholder:"env:NAME|file:PATH"`
	Own         string        `required:"" help:"Folder of the witness: its key, and what it signed last." placeholder:"DIR"`
	Key         string        `required:"" help:"Public key of the ledger." placeholder:"FILE"`
	Name        string        `help:"Name of the witness, when its key is made." placeholder:"NAME"`
	Bundle      string        `help:"Trust bundle by which control is known that serves the ledger (default: a server that the authorities of this host know)." placeholder:"FILE"`
	TrustDomain string        `help:"Its trust domain (default: that of the bundle)." placeholder:"NAME"`
	Every       time.Duration `help:"Sign again after each pause, such as 1m (default: once)."`
	Serve       string        `help:"Read no ledger, and sign the checkpoints that one sends here (C2SP tlog-witness); the model of that fleet names this witness in audit.witnesses." placeholder:"HOST:PORT"`
	Cert        string        `help:"With --serve: certificate (PEM)." placeholder:"FILE"`
	CertKey     string        `help:"With --serve: its key." placeholder:"FILE"`
}

func (c *auditWitnessCmd) Run(e *environment) error {
	o := e.with()
	if c.Serve != "" {
		if c.Ledger != "" || c.Store != "" || c.Bundle != "" || c.Every != 0 {
			return errors.New("--serve waits for what a ledger sends; a ledger, --store, --bundle and --every are for a witness that reads one")
		}
		return app.AuditAnswer(e.ctx, o, app.Answering{Address: c.Serve, TLS: model.Certificate{Cert: c.Cert, Key: c.CertKey}}, c.Own, c.Name, c.Key)
	}
	o.Reach = app.Reach{Bundle: c.Bundle, Domain: c.TrustDomain}
	return app.AuditWitness(e.ctx, o, c.Ledger, c.Store, c.Own, c.Name, c.Key, c.Every)
}

// Help shows examples.
func (*auditCmd) Help() string {
	return `Every record is in a ledger that shows if it was altered, deleted, inserted or moved. See docs/audit.md.

Examples:
  palisade audit verify
  palisade audit export --since 30d --out export
  palisade audit verify export --key ledger.pub --earlier checkpoint-of-last-month`
}

// Help shows examples.
func (*auditVerifyCmd) Help() string {
	return `Names the first record that is altered, missing, inserted or reordered. Needs files alone: no network, no running palisade. What several
controls keep in one PostgreSQL is read from there.

Examples:
  palisade audit verify --state /var/lib/palisade --since 24h
  palisade audit verify --store env:CONTROL_STORE --key ledger.pub
  palisade audit verify export --key ledger.pub
  palisade audit verify export --key ledger.pub --witness witness.pub --earlier checkpoint --format json`
}

// Help shows examples.
func (*auditExportCmd) Help() string {
	return `Writes records as JSON lines, the tiles of the ledger that they need, its checkpoint, and how to verify.

Examples:
  palisade audit export --out export
  palisade audit export --state /var/lib/palisade --since 2026-10-01 --until 2026-11-01 --out october`
}

// Help shows examples.
func (*auditWitnessCmd) Help() string {
	return `A witness signs only what goes on from all that it signed before. Then who holds the key of the ledger cannot write another
history unseen. Run it on a machine of the second party; the signed checkpoint is also in the folder of the witness.

Examples:
  palisade audit witness /mnt/ledger --own witness --key ledger.pub --name auditor.example
  palisade audit witness https://control.shop.example:9950/v1/ledger --bundle bundle.json --own witness --key ledger.pub --every 1m`
}
