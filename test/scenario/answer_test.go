package scenario

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/test/edge"
	"github.com/sipio/sipio/test/phone"
)

//go:embed testdata/answer.yaml
var shop string

// Tones of the account's sounds, by the name of the media file.
var soundTones = map[string]float64{"greeting": 500, "wrong": 700, "again": 900, "number": 1100}

// shopNode is a node whose media server answers, with the account shop; those that kill something start their own.
func shopNode(t *testing.T) *edge.Edge {
	t.Helper()
	if shopEdge == nil {
		e, err := startShop()
		if err != nil {
			t.Fatal(err)
		}
		shopEdge = e
	}
	return shopEdge
}

var shopEdge *edge.Edge

// startShop starts such a node. Its http steps reach a server on this machine that knows customer 4711 only.
func startShop() (*edge.Edge, error) {
	crm, err := startCRM()
	if err != nil {
		return nil, err
	}
	config := strings.ReplaceAll(shop, "crm.test:4433", crm.addr)
	e, err := edge.Start(context.Background(), edge.Options{Config: config, LogDecisions: true, Media: true,
		NodeFlags:  []string{"--heartbeat-interval=500ms"},
		BrainFlags: []string{"--flow-ca-file=" + crm.caFile, "--flow-allow-nets=127.0.0.0/8"}})
	if err != nil {
		return nil, err
	}
	if err := e.WaitTrunk("127.0.0.9", 10*time.Second); err != nil {
		e.Stop()
		return nil, err
	}
	for name, hz := range soundTones {
		lasts := 600 * time.Millisecond
		if name == "greeting" { // begins with the answer, when a browser has no path for media yet
			lasts = 1500 * time.Millisecond
		}
		if err := upload(e, name, []byte(wav(hz, lasts))); err != nil {
			e.Stop()
			return nil, fmt.Errorf("upload %s: %w\n%s", name, err, e.Tails(10))
		}
	}
	return e, nil
}

// crm is a customer database behind HTTPS.
type crm struct{ addr, caFile string }

// slowCustomer is a customer whom the database looks up for two seconds; crmAsked gets the Idempotency-Key of each
// question about him.
const slowCustomer = "5000"

var crmAsked = make(chan string, 64)

var startCRM = sync.OnceValues(func() (crm, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return crm{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "crm"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return crm{}, err
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("sipio-crm-%d.pem", os.Getpid()))
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return crm{}, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		return crm{}, err
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tier := "none"
			if r.URL.Path == "/customer/"+slowCustomer {
				crmAsked <- r.Header.Get("Idempotency-Key")
				select {
				case <-time.After(2 * time.Second):
				case <-r.Context().Done():
				}
			}
			if r.URL.Path == "/customer/4711" {
				tier = "gold"
			}
			fmt.Fprintf(w, `{"tier": %q}`, tier)
		}))
	}()
	return crm{l.Addr().String(), file}, nil
})

// shopID is the id of a resource of the account shop, by its name; the kind is as in /v1.
func shopID(e *edge.Edge, plural, name string) (id, account string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if account, err = e.AccountID(ctx, "shop"); err != nil {
		return "", "", err
	}
	body, err := e.Request(ctx, http.MethodGet, "/v1/"+plural+"?limit=500&account_id="+account, "", nil)
	if err != nil {
		return "", "", err
	}
	var page struct{ Items []struct{ ID, Name string } }
	if err := json.Unmarshal(body, &page); err != nil {
		return "", "", err
	}
	for _, r := range page.Items {
		if r.Name == name {
			return r.ID, account, nil
		}
	}
	return "", "", fmt.Errorf("no %s among %s", name, body)
}

// upload brings the sound of a media file of the account shop.
func upload(e *edge.Edge, name string, sound []byte) error {
	id, account, err := shopID(e, "media_files", name)
	if err != nil {
		return err
	}
	_, err = e.Request(context.Background(), http.MethodPut, "/v1/media_files/"+id+"/content?account_id="+account, "audio/wav", sound)
	return err
}

// trunkPhone is a carrier's switch at the trunk's address: it registers nowhere and has no password.
func trunkPhone(t *testing.T, e *edge.Edge, number string, opts ...option) *phone.Phone {
	t.Helper()
	return newPhone(t, e, number, append([]option{func(c *phone.Config) { c.LocalIP, c.Domain, c.Password = "127.0.0.9", "carrier.test", "none" }}, opts...)...)
}

// A caller from the telephone network hears the greeting, is told of a wrong digit and of his silence, chooses, gives
// his customer number, which a server knows, and is put through: both hear the other. Digits go as RFC 4733 events,
// as INFO and as tones.
func TestAnswer_CallerIsLedThroughTheMenu(t *testing.T) {
	e := shopNode(t)
	tails(t, e)
	for _, how := range []string{"events", "info", "tones"} {
		t.Run(how, func(t *testing.T) {
			ctx := within(t, 60*time.Second)
			dora := registered(t, e, "2001", realm("shop.test"))
			up := answering(ctx, dora)
			caller := trunkPhone(t, e, "4930555", func(c *phone.Config) { c.NoEvents = how == "tones" })
			a, err := caller.Call(ctx, "493012345")
			if err != nil {
				t.Fatal(err)
			}
			a.SendTone(0)
			press := presser(t, ctx, a, how)
			hear(t, ctx, a, "greeting")
			press("7")
			hear(t, ctx, a, "wrong")
			hear(t, ctx, a, "again") // silence for three seconds
			press("1")
			hear(t, ctx, a, "number")
			press("4711")
			b, ok := <-up
			if !ok {
				t.Fatal("nobody was rung")
			}
			talk(t, ctx, a, b)
			if err := a.Bye(ctx); err != nil {
				t.Error(err)
			}
			<-b.Done()
			noMedia(t, ctx, e)
		})
	}
}

// hear waits for one of the account's sounds.
func hear(t *testing.T, ctx context.Context, c *phone.Call, sound string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 12*time.Second)
	defer cancel()
	if _, err := c.HearTone(ctx, soundTones[sound]); err != nil {
		t.Fatalf("%s: %v", sound, err)
	}
}

// presser presses digits in one of the three ways.
func presser(t *testing.T, ctx context.Context, c *phone.Call, how string) func(digits string) {
	return func(digits string) {
		t.Helper()
		var err error
		switch how {
		case "events":
			err = c.SendDigits(digits)
		case "tones":
			err = c.SendTones(digits)
		case "info":
			for i := 0; i < len(digits) && err == nil; i++ {
				err = c.SendInfo(ctx, digits[i])
			}
		}
		if err != nil {
			t.Fatalf("press %s: %v", digits, err)
		}
	}
}
