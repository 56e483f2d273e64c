package control_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/palisade-security/palisade/control/wire"
)

// TestSlowStrangers holds that who sends requests and never their bodies shuts nobody at another address out.
func TestSlowStrangers(t *testing.T) {
	s := newSite(t, compile(t, shop), nil)
	s.start()
	stranger := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	const many = 140 // more than one address may hold
	first := make(chan error, 1)
	for i := range many {
		conn, err := tls.DialWithDialer(stranger, "tcp", s.listen, &tls.Config{InsecureSkipVerify: true})
		must(t, err)
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: control\r\nContent-Length: 1000\r\n\r\n{", wire.EnrolPath)
		must(t, err)
		if i == many-1 {
			go func() { // the answer to the last tells that all were looked at
				answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err == nil && answer.StatusCode != http.StatusServiceUnavailable {
					err = fmt.Errorf("the last of a flood is answered %s", answer.Status)
				}
				first <- err
			}()
		}
	}
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer web.CloseIdleConnections()
	r, err := http.NewRequestWithContext(soon(t), http.MethodPost, "https://"+s.listen+wire.ChallengePath, strings.NewReader("{}"))
	must(t, err)
	answer, err := web.Do(r)
	must(t, err)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("somebody else is answered %s", answer.Status)
	}
	must(t, <-first)
}
