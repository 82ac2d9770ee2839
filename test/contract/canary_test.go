package contract

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
	"github.com/sipio/sipio/test/edge"
)

// A password that can be mistaken for nothing else is given in every way there is, right and wrong, with
// both processes logging all they can, and used to register and to call. Afterwards it is in no file of
// the brain, of the node agent or of their logs; its digests are in the files of the database and in no
// other; and the keys are in no log.
func TestSecrets_StayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	debug := []string{"--log-level=debug"}
	e := start(t, edge.Options{Config: two, LogDecisions: true, BrainFlags: debug, NodeFlags: debug})
	ctx := within(t, 30*time.Second)
	a, door := newAsker(t, e.BrainURL, e.AdminKey), newAsker(t, "http://"+e.DoorAddr, "")
	acme := a.named(brain.KindAccount, "", "name", "acme")
	device := a.named(brain.KindSIPDevice, "", "auth_username", "1002")
	token := a.newKey(acme, brain.ScopeConfigRead)
	given := digests("1001@globex.test")[1]

	a.send(200, "PATCH", "/v1/sip_devices/"+device, `{"password":"`+password+`"}`)
	a.send(422, "PATCH", "/v1/sip_devices/"+device, `{"password":"`+password+`","colour":"red"}`)
	a.send(400, "PATCH", "/v1/sip_devices/"+device, `{"password":"`+password)
	a.want(422, "POST", "/v1/apply", "application/yaml", "{kind: sip_device, account: acme, name: x@acme.test, spec: {password: {"+password+": 1}}}")
	a.want(422, "POST", "/v1/apply", "application/yaml", "{kind: sip_device, account: acme, name: x@acme.test, spec: {ha1_sha256: "+given+"0}}")
	kept := a.send(201, "POST", "/v1/secrets?account_id="+acme, `{"name":"api","value":"`+password+`"}`).field("id")
	a.send(200, "PATCH", "/v1/secrets/"+kept, `{"value":"2`+password+`"}`)
	a.send(422, "PATCH", "/v1/secrets/"+kept, `{"value":"`+password+`","colour":"red"}`)
	a.want(422, "POST", "/v1/apply", "application/yaml", "{kind: secret, account: acme, name: api, spec: {value: {"+password+": 1}}}")
	a.send(200, "POST", "/v1/rollback", `{"version":2}`)
	for _, to := range []asker{a, door} {
		to.want(200, "POST", api.PathAuth, typeForm, registration("canary").Encode())
		to.want(200, "POST", api.PathRoute, typeForm, invitation("canary").Encode())
	}
	a.want(400, "POST", api.PathRoute, typeForm, "password="+password)
	refusedWith(t, door, api.PathRoute, "an unknown field", "password="+password, 400)
	k := &edgeEvents{door: door, account: acme}
	k.post(api.EventDialogStart, "canary")
	eventually(t, ctx, "the call at the brain", func() error { return isLive(t, e, "canary") })
	if err := e.Brain.Kill(); err != nil { // whatever is in the write-ahead log stays there
		t.Fatal(err)
	}
	k.post(api.EventDialogEnd, "canary") // and the spool has something in it
	if err := e.Node.Kill(); err != nil {
		t.Fatal(err)
	}

	var hashes []string
	for _, d := range []string{"1001@acme.test", "1002@acme.test", "1001@globex.test"} {
		hashes = append(hashes, digests(d)...)
	}
	inDatabase, files := map[string]bool{}, 0
	err := filepath.WalkDir(e.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		name, _ := filepath.Rel(e.Dir, path)
		database := strings.HasPrefix(name, "brain/config.db")
		key := name == "brain/admin.key" || name == "node.key"
		if bytes.Contains(text, []byte(password)) {
			t.Errorf("%s holds the password", name)
		}
		for _, h := range hashes {
			if found := bytes.Contains(text, []byte(h)); found && database {
				inDatabase[h] = true
			} else if found {
				t.Errorf("%s holds the digest %s", name, h)
			}
		}
		for _, secret := range []string{token, e.AdminKey} {
			if bytes.Contains(text, []byte(secret)) && !(key && secret == e.AdminKey) {
				t.Errorf("%s holds an API key", name)
			}
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s may be read by others: %v, %v", name, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(inDatabase) != len(hashes) || files < 6 {
		t.Errorf("%d of %d digests found in %d files: the search does not see what is there", len(inDatabase), len(hashes), files)
	}
	for _, log := range []string{e.Brain.Log, e.Node.Log} {
		if text, err := os.ReadFile(log); err != nil || len(text) < 500 {
			t.Errorf("%s is %d bytes long, %v: there was nothing to search", log, len(text), err)
		}
	}
}
