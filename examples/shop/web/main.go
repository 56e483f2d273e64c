// Command web is the shop's front page, made from what catalog says, with a WebSocket that counts visitors.
package main

import (
	"context"
	"html/template"
	"log"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"github.com/palisade-security/palisade/examples/shop/internal/serve"
)

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>The Palisade shop</title>
<style>body{font:18px/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}li{display:flex;justify-content:space-between;border-bottom:1px solid #ccc;padding:.4rem 0}</style>
</head><body><h1>The Palisade shop</h1><p>Everything for a well-kept fence.</p><ul style="list-style:none;padding:0">
{{range .}}<li><span>{{.Name}}</span><span>{{printf "%.2f" .Price}} €</span></li>{{end}}
</ul></body></html>
`))

type item struct {
	Name  string
	Cents int
}

// Price is in euros.
func (i item) Price() float64 { return float64(i.Cents) / 100 }

func main() {
	catalog := os.Getenv("CATALOG_ADDRESS")
	var visitors atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		var items []item
		if err := serve.Get(r.Context(), catalog+"/catalog", &items); err != nil {
			log.Print(err)
			http.Error(w, "the catalog is closed", http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, items) // a reader that is gone needs no page
	})
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return // Accept has answered
		}
		defer c.CloseNow()
		visitors.Add(1)
		defer visitors.Add(-1)
		count(c.CloseRead(r.Context()), c, &visitors)
	})
	serve.HTTP(mux)
}

// count tells the number of visitors every second.
func count(ctx context.Context, c *websocket.Conn, visitors *atomic.Int64) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for wsjson.Write(ctx, c, map[string]int64{"visitors": visitors.Load()}) == nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
