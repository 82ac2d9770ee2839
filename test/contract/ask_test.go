package contract

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain/api"
)

const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
)

// asker asks one server with one key, and remembers all it was ever told.
type asker struct {
	t    *testing.T
	url  string
	key  string
	told *record
}

// record is every reply, for the search for secrets.
type record struct {
	mu      sync.Mutex
	replies []reply
}

// reply is what was asked, and header and body of what was answered.
type reply struct{ to, text string }

func newAsker(t *testing.T, url, key string) asker { return asker{t, url, key, &record{}} }

// as is the same asker with another key.
func (a asker) as(key string) asker { a.key = key; return a }

// answer is a reply as the tests look at it; status 0 is no reply at all.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// problem is what an error reply says.
type problem struct {
	Code   string
	Detail string
	Errors []struct{ Path, Text string }
}

func (r answer) problem() (p problem) {
	_ = json.Unmarshal(r.body, &p) // what is no problem has none of its members
	return p
}

// field reads a text member of a JSON body.
func (r answer) field(name string) string {
	var m map[string]any
	_ = json.Unmarshal(r.body, &m) // nor has what is no JSON any member
	s, _ := m[name].(string)
	return s
}

var client = &http.Client{Timeout: 30 * time.Second}

// ask sends one request; a full bucket of the key's rate is waited out.
func (a asker) ask(method, path, contentType, body string) answer {
	a.t.Helper()
	for {
		r := a.once(method, path, contentType, body)
		if r.status != http.StatusTooManyRequests {
			return r
		}
		wait, err := strconv.Atoi(r.header.Get("Retry-After"))
		if err != nil || wait > 5 {
			a.t.Fatalf("429 with Retry-After %q", r.header.Get("Retry-After"))
		}
		<-time.After(time.Duration(wait) * time.Second)
	}
}

func (a asker) once(method, path, contentType, body string) answer {
	a.t.Helper()
	req, err := http.NewRequest(method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := client.Do(req)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	a.told.mu.Lock()
	defer a.told.mu.Unlock()
	a.told.replies = append(a.told.replies, reply{method + " " + path, fmt.Sprintf("%v\n%s", resp.Header, got)})
	return answer{resp.StatusCode, resp.Header, got}
}

// get, send and must are ask for JSON; want is the status, and another one fails the test.
func (a asker) get(want int, path string) answer {
	a.t.Helper()
	return a.want(want, http.MethodGet, path, "", "")
}

func (a asker) send(want int, method, path, body string) answer {
	a.t.Helper()
	return a.want(want, method, path, typeJSON, body)
}

func (a asker) want(want int, method, path, contentType, body string) answer {
	a.t.Helper()
	r := a.ask(method, path, contentType, body)
	if r.status != want {
		a.t.Fatalf("%s %s %.200s: %d, want %d: %s", method, path, body, r.status, want, r.body)
	}
	return r
}

// digested is a device's answer to a challenge, as the edge passes it on.
func digested(method, user, realm string) url.Values {
	const nonce = "abcdefgh"
	uri := "sip:" + realm
	ha1 := md5hex(user + ":" + realm + ":" + password)
	return url.Values{
		"auth_username": {user}, "auth_realm": {realm}, "auth_nonce": {nonce}, "auth_uri": {uri},
		"auth_response": {md5hex(ha1 + ":" + nonce + ":" + md5hex(method+":"+uri))},
		"method":        {method}, "from_user": {user}, "from_domain": {realm}, "node": {"node-1"},
		"source_ip": {"192.0.2.7"}, "source_port": {"5060"}, "transport": {"udp"},
		"cseq": {"1"}, "branch": {"z9hG4bK-contract"},
	}
}

// registration is a question to /auth that is accepted.
func registration(callID string) url.Values {
	q := digested("REGISTER", "1001", "acme.test")
	q.Set("call_id", callID)
	q.Set("to_user", "1001")
	q.Set("to_domain", "acme.test")
	return q
}

// invitation is a question to /route that is proxied: 1001 calls 1002.
func invitation(callID string) url.Values {
	q := digested("INVITE", "1001", "acme.test")
	q.Set("call_id", callID)
	q.Set("to_user", "1002")
	q.Set("to_domain", "acme.test")
	q.Set("ruri", "sip:1002@acme.test")
	q.Set("ruri_user", "1002")
	q.Set("ruri_domain", "acme.test")
	return q
}

// directive asks /route and returns the directive and how long it took.
func (a asker) directive(q url.Values) (api.Directive, time.Duration) {
	a.t.Helper()
	began := time.Now()
	r := a.want(http.StatusOK, http.MethodPost, api.PathRoute, typeForm, q.Encode())
	took := time.Since(began)
	var reply api.RouteReply
	if err := json.Unmarshal(r.body, &reply); err != nil {
		a.t.Fatalf("/route: %v: %s", err, r.body)
	}
	return reply.RTJSON, took
}

// counts are the totals in the brain's health page.
func (a asker) counts() map[string]int64 {
	a.t.Helper()
	var h struct{ Counts map[string]int64 }
	if err := json.Unmarshal(a.get(http.StatusOK, api.PathHealth).body, &h); err != nil {
		a.t.Fatal(err)
	}
	if h.Counts == nil {
		a.t.Fatal("the health page has no counts")
	}
	return h.Counts
}

func md5hex(s string) string    { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
func sha256hex(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

// digests are the HA1 values of a device: as good as its password.
func digests(device string) []string {
	user, realm, _ := strings.Cut(device, "@")
	secret := user + ":" + realm + ":" + password
	return []string{md5hex(secret), sha256hex(secret)}
}

// search tells which of the secrets the replies show.
func (r *record) search(t *testing.T, secrets ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, told := range r.replies {
		for _, s := range secrets {
			if strings.Contains(told.text, s) {
				t.Errorf("%s shows the secret %s:\n%s", told.to, s, told.text)
			}
		}
	}
}
