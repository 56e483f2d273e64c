package main

import "github.com/palisade-security/palisade/app"

type svidCmd struct {
	Write  string `required:"" help:"Folder of svid.pem, key.pem and bundle.pem." placeholder:"DIR"`
	Socket string `help:"Workload API that gives the SVID." placeholder:"PATH" env:"SPIFFE_ENDPOINT_SOCKET"`
	ID     string `name:"id" help:"Which one, if there are several (default: the first)." placeholder:"SPIFFE-ID"`
	Watch  bool   `help:"Go on, and write what is renewed."`
	Reload string `help:"Command that makes a program read the files again, run without a shell." placeholder:"COMMAND"`
}

func (c *svidCmd) Run(e *environment) error {
	return app.WriteSVID(e.ctx, e.with(), &app.SVIDOptions{Socket: c.Socket, Folder: c.Write, ID: c.ID, Watch: c.Watch, Reload: c.Reload})
}
