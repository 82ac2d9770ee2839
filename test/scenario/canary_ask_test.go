package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// beacon is no secret, and in all that tells of the account: where it is not found, the search has not seen what is there.
const beacon = "beacon.test"

// keep remembers something that was answered, for the search.
func (h *secretsHeld) keep(where string, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answers[where] = append(append(h.answers[where], data...), '\n')
}

// ask sends a request, keeps its answer with its headers, and returns status and body.
func (h *secretsHeld) ask(ctx context.Context, as, method, path, contentType, body string) (int, []byte) {
	h.t.Helper()
	address := path
	if !strings.HasPrefix(path, "http") {
		address = h.BrainURL + path
	}
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+as)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatalf("%s: %v", path, err)
	}
	head, _ := json.Marshal(res.Header)
	h.keep(method+" "+path, append(head, text...))
	return res.StatusCode, text
}

// must sends JSON with the platform's key, wants a status, and decodes the answer. What shows a key or a token, this once, is not kept.
func (h *secretsHeld) must(ctx context.Context, want int, method, path string, body, into any) {
	h.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	status, answer := h.ask(ctx, h.AdminKey, method, path, "application/json", string(text))
	if status != want {
		h.t.Fatalf("%s %s: %d, want %d: %s", method, path, status, want, answer)
	}
	if strings.HasPrefix(path, "/v1/api_keys?") && method == "POST" || path == "/v1/login" && status == 200 {
		h.mu.Lock()
		delete(h.answers, method+" "+path)
		h.mu.Unlock()
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			h.t.Fatal(err)
		}
	}
}

// list reads a page of resources with the platform's key.
func (h *secretsHeld) list(ctx context.Context, path string) []map[string]any {
	h.t.Helper()
	var page struct{ Items []map[string]any }
	h.must(ctx, 200, "GET", path, nil, &page)
	return page.Items
}

// readAll reads all that can be read with a key: each kind, each resource, the documents, and the live views.
func (h *secretsHeld) readAll(ctx context.Context, what, key string) {
	h.t.Helper()
	paths := []string{"/v1/export", "/v1/revisions?limit=500", "/v1/audit?limit=500", "/v1/openapi.json", "/health", h.NodeHealth, "http://" + h.DoorAddr + "/health"}
	of := "account_id=" + h.account
	for _, kind := range brain.Kinds {
		path := "/v1/" + string(kind) + "s"
		paths = append(paths, path+"?limit=500", path+"?limit=500&"+of)
	}
	for _, path := range []string{api.PathCalls, api.PathPresence, api.PathCAC, api.PathAgents, api.PathQueues, api.PathTrunks, api.PathBalance, api.PathBalanceStatement} {
		paths = append(paths, path+"?"+of)
	}
	paths = append(paths, api.PathCalls, "/node", api.PathCluster, api.PathJournal, api.PathSecurityBans, api.PathSecurityAllow, api.PathConference+"?"+of+"&conference_id=meeting",
		fmt.Sprintf("%s?shard=%d", api.PathJournalDump, brain.ShardOf(h.account)))
	good := 0
	for i := 0; i < len(paths); i++ {
		status, text := h.ask(ctx, key, "GET", paths[i], "", "")
		if status == 200 {
			good++
		}
		var page struct{ Items []struct{ ID string } }
		if path, query, _ := strings.Cut(paths[i], "?"); strings.HasPrefix(path, "/v1/") && strings.HasSuffix(query, "limit=500") && json.Unmarshal(text, &page) == nil {
			for _, item := range page.Items {
				if strings.Count(path, "/") == 2 && !strings.HasSuffix(path, "revisions") && !strings.HasSuffix(path, "audit") {
					paths = append(paths, path+"/"+item.ID)
				}
			}
		}
	}
	if good < len(brain.Kinds) {
		h.t.Errorf("with %s only %d of %d questions were answered", what, good, len(paths))
	}
}

// mistakes gives every secret where it is refused, in ways that are.
func (h *secretsHeld) mistakes(ctx context.Context) {
	h.t.Helper()
	var rows []string
	for _, plural := range []string{"sip_devices", "secrets", "voicemails", "conferences", "nodes", "console_users"} {
		for _, row := range h.list(ctx, "/v1/"+plural+"?limit=500") {
			rows = append(rows, "/v1/"+plural+"/"+row["id"].(string))
		}
	}
	for _, secret := range slices.Sorted(maps.Values(h.canaries)) {
		for _, field := range []string{"password", "value", "pin", "moderator_pin", "agent_token", "access_client_secret", "password_hash", "ha1_md5", "sealed"} {
			for _, path := range rows {
				for _, body := range []string{`{"%s":"%s","colour":"red"}`, `{"%s":["%s"]}`, `{"%s":"%s`, `{"%s": %s}`} {
					if status, answer := h.ask(ctx, h.AdminKey, "PATCH", path, "application/json", fmt.Sprintf(body, field, secret)); status < 400 {
						h.t.Fatalf("PATCH %s of a mistaken %s: %d %s", path, field, status, answer)
					}
				}
			}
		}
		h.ask(ctx, h.AdminKey, "POST", "/v1/login", "application/json", `{"email":"nobody@beacon.test","password":"`+secret)
		h.ask(ctx, h.AdminKey, "POST", "/v1/login", "application/json", `{"email":"nobody@beacon.test","password":["`+secret+`"]}`)
		for _, body := range []string{`{"name":"b","value":"%s","sealed":"%[1]s"}`, `{"name":"b","sealed":"%s"}`, `{"name":"","value":"%s"}`, `{"name":"b","value":"` + strings.Repeat("%[1]s", 2000) + `"}`} {
			if status, answer := h.ask(ctx, h.AdminKey, "POST", "/v1/secrets?account_id="+h.account, "application/json", fmt.Sprintf(body, secret)); status < 400 {
				h.t.Fatalf("POST of a mistaken secret: %d %s", status, answer)
			}
		}
		for _, path := range []string{h.BrainURL + api.PathAuth, h.BrainURL + api.PathRoute, "http://" + h.DoorAddr + api.PathAuth, "http://" + h.DoorAddr + api.PathRoute} {
			h.ask(ctx, h.AdminKey, "POST", path, "application/x-www-form-urlencoded", "auth_username=7001&password="+url.QueryEscape(secret))
		}
		h.ask(ctx, secret, "GET", "/v1/accounts", "", "") // as a key: some are, most are not
		h.ask(ctx, "x"+secret, "GET", api.PathCalls, "", "")
		h.ask(ctx, secret, "POST", strings.TrimSuffix(h.NodeHealth, "/health")+api.PathOp, "application/json", `{"id":"`+secret)
		for _, doc := range []string{"{kind: secret, account: shop, name: b, spec: {value: {%q: 1}}}", "{kind: sip_device, account: shop, name: x@beacon.test, spec: {password: [%q]}}",
			"{kind: voicemail, account: shop, name: box, spec: {pin: {a: %q}}}", "{kind: node, name: far, spec: {agent_token: [%q]}}", "kind: secret\nname: [%s"} {
			if status, answer := h.ask(ctx, h.AdminKey, "POST", "/v1/apply", "application/yaml", fmt.Sprintf(doc, secret)); status < 400 {
				h.t.Fatalf("apply %s: %d %s", doc, status, answer)
			}
		}
	}
}

// commands has the command line tell all that it can, and change a secret.
func (h *secretsHeld) commands(ctx context.Context) {
	h.t.Helper()
	bin, err := edge.Binaries()
	if err != nil {
		h.t.Fatal(err)
	}
	dir := h.t.TempDir()
	file, dump := filepath.Join(dir, "changed.yaml"), filepath.Join(dir, "dump")
	changed := fmt.Sprintf("{kind: secret, account: shop, name: hook-token, spec: {value: %q}}\n---\n{kind: sip_device, account: shop, name: 7001@beacon.test, spec: {user_id: \"7001\", password: %q}}\n",
		h.canaries["wrong password"], h.canaries["SIPPASSWORD"])
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		h.t.Fatal(err)
	}
	told, before := map[string][]byte{}, ""
	for _, line := range []string{"export", "diff -f FILE", "revisions", "apply -f FILE", "audit --json --limit=10000", "audit", "get sip_device --json", "get secret --json", "get voicemail --json",
		"get console_user --json", "get node --json", "journal stat", "journal dump --account=shop", "journal replay DUMP", "call list", "key list", "secret list", "secret rotate", "ban list", "ban show 203.0.113.7",
		"presence show --account=shop", "trunk list --account=shop", "cac show --account=shop", "cluster status", "rollback BEFORE"} {
		cmd := exec.CommandContext(ctx, bin+"/sipio", strings.Fields(strings.NewReplacer("FILE", file, "DUMP", dump, "BEFORE", before).Replace(line))...)
		cmd.Env = append(os.Environ(), "SIPIO_SERVER="+h.BrainURL, "SIPIO_KEY="+h.AdminKey)
		out, err := cmd.CombinedOutput()
		if err != nil && !strings.HasPrefix(line, "diff") {
			h.t.Errorf("sipio %s: %v\n%s", line, err, out)
		}
		told[line] = out
		h.keep("sipio "+line, out)
		switch {
		case line == "revisions": // the newest is first, below the head of the table
			before = strings.Fields(strings.Split(string(out), "\n")[1])[0]
		case strings.HasPrefix(line, "journal dump"):
			if err := os.WriteFile(dump, out, 0o600); err != nil {
				h.t.Fatal(err)
			}
		}
	}
	for line, want := range map[string]string{"export": beacon, "diff -f FILE": "hook-token", "apply -f FILE": "hook-token", "audit --json --limit=10000": "login.ok", "audit": "ban.add",
		"get sip_device --json": beacon, "get secret --json": "hook-token", "get console_user --json": "beacon@beacon.test", "get node --json": "far.access",
		"journal dump --account=shop": "voicemail", "journal replay DUMP": beacon, "secret list": "hook-token", "presence show --account=shop": "REACHABLE", "ban list": "203.0.113.7"} {
		if !bytes.Contains(told[line], []byte(want)) {
			h.t.Errorf("sipio %s does not tell of %s: %.400s", line, want, told[line])
		}
	}
}

// watch reads the stream of an account until the function that it returns is called, which fails the test when nothing came.
func (h *secretsHeld) watch(ctx context.Context) (end func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, "GET", h.BrainURL+api.PathPresenceStream+"?account_id="+h.account, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.AdminKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 200 {
		h.t.Fatalf("the stream: %v %v", res, err)
	}
	all := make(chan []byte, 1)
	go func() {
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		all <- text
	}()
	return func() {
		cancel()
		text := <-all
		if !bytes.Contains(text, []byte(beacon)) {
			h.t.Errorf("the stream does not tell of the account: %.300s", text)
		}
		h.keep("the stream", text)
	}
}

// processes keeps what every user of the machine can see of the daemons.
func (h *secretsHeld) processes() {
	h.t.Helper()
	for _, p := range []*edge.Proc{h.Brain, h.Node, h.Kamailio, h.RTPEngine} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID()))
		if err != nil || !bytes.Contains(text, []byte("--")) && !bytes.Contains(text, []byte("-f")) {
			h.t.Errorf("the command line of %s: %q, %v", p.Name, text, err)
		}
		h.keep("command line of "+p.Name, text)
	}
}
