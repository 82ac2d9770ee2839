package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/brain/api"
)

// fakeSecrets has a secret "carrier" in both accounts and "crm", which a flow names, in acme. It takes one value only: that of
// testdata/secret.txt without its line end.
func fakeSecrets(mux *http.ServeMux) {
	secrets := []brain.Secret{{ID: "sec_1", AccountID: "acc_1", Name: "carrier"}, {ID: "sec_2", AccountID: "acc_1", Name: "crm"}, {ID: "sec_3", AccountID: "acc_2", Name: "carrier"}}
	mux.HandleFunc("GET /v1/secrets", func(w http.ResponseWriter, r *http.Request) {
		list := []brain.Secret{}
		for _, s := range secrets {
			if id := r.URL.Query().Get("account_id"); id == "" || id == s.AccountID {
				list = append(list, s)
			}
		}
		reply(w, map[string]any{"items": list})
	})
	give := func(w http.ResponseWriter, r *http.Request, secret brain.Secret) {
		var body brain.Secret
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Value != "s3cret-of-the-carrier" {
			problem(w, 422, brain.EInvalid, "not the value of the file")
			return
		}
		if secret.Name == "" {
			secret.Name = body.Name
		}
		reply(w, secret)
	}
	mux.HandleFunc("POST /v1/secrets", func(w http.ResponseWriter, r *http.Request) {
		give(w, r, brain.Secret{ID: "sec_9", AccountID: r.URL.Query().Get("account_id")})
	})
	mux.HandleFunc("PATCH /v1/secrets/sec_1", func(w http.ResponseWriter, r *http.Request) { give(w, r, secrets[0]) })
	mux.HandleFunc("DELETE /v1/secrets/sec_1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	mux.HandleFunc("DELETE /v1/secrets/sec_2", func(w http.ResponseWriter, _ *http.Request) {
		problem(w, 409, brain.EConflict, "secret crm is still referred to by call_flow main")
	})
	mux.HandleFunc("POST "+api.PathSecretRotate, func(w http.ResponseWriter, _ *http.Request) {
		reply(w, api.SecretRotation{Key: "0a1b2c3d", Resealed: 2, Already: 1, Failed: 1,
			Which: []api.SecretFailed{{AccountID: "acc_2", Name: "carrier", Why: `secret "carrier" is sealed with key ffffffff: the key file does not have it`}}})
	})
}

// Proves that a value comes in by standard input or a file, loses one line end and no more, is held to its bounds, is not
// read from a terminal that would show it (the null device stands for one), and is in no error.
func TestSecretSet_ReadsTheValueWhereNobodySeesIt(t *testing.T) {
	for _, row := range []struct{ in, want, says string }{
		{"s3cret", "s3cret", ""}, {"s3cret\n", "s3cret", ""}, {"s3cret\r\n", "s3cret", ""}, {"s3cret\n\n", "s3cret\n", ""}, {" s3cret ", " s3cret ", ""},
		{"", "", "1 to 16384 bytes"}, {"\n", "", "1 to 16384 bytes"}, {strings.Repeat("s3cret", 3000), "", "1 to 16384 bytes"},
		{strings.Repeat("s3cret", 1<<20), "", "1 to 16384 bytes"}, {"s3cret\xff", "", "UTF-8"},
	} {
		got, err := readValue(strings.NewReader(row.in), "")
		if got != row.want || (err == nil) != (row.says == "") || err != nil && (!strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%.20q: %.20q, %v", row.in, got, err)
		}
	}
	terminal, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	if _, err := readValue(terminal, ""); err == nil || !strings.Contains(err.Error(), "terminal") {
		t.Errorf("read from a terminal: %v", err)
	}
	path := filepath.Join(t.TempDir(), "value")
	if err := os.WriteFile(path, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readValue(terminal, path); got != "s3cret" || err != nil {
		t.Errorf("from a file: %q, %v", got, err)
	}
}

// Proves that the command line has no place for a value: it is refused as a word too many.
func TestSecretSet_TakesNoValueFromTheCommandLine(t *testing.T) {
	if out := transcript("sipio secret set carrier s3cret"); !strings.Contains(out, "accepts 1 arg(s)") {
		t.Error(out)
	}
}

// Proves the whole change of a key on a file, with what each command prints.
func TestSecretKey_ChangesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret.key")
	id := func(line string) string {
		t.Helper()
		out := transcript(line)
		words := strings.Fields(strings.TrimPrefix(out, "$ "+line))
		if len(words) == 0 || strings.Contains(out, "exit status") {
			t.Fatal(out)
		}
		return words[len(words)-1]
	}
	first := id("sipio secret key add " + path)
	second := id("sipio secret key add " + path)
	steps := []struct{ line, want string }{
		{"sipio secret key list " + path, "KEY       USE\n" + first + "  seals and opens\n" + second + "  opens\n"},
		{"sipio secret key rm " + path + " " + first, "! sipio: " + first + " is the key that seals: put another one first before\nexit status 1\n"},
		{"sipio secret key use " + path + " " + second, "key " + second + " seals\n"},
		{"sipio secret key rm " + path + " " + first, "removed key " + first + "\n"},
		{"sipio secret key list " + path, "KEY       USE\n" + second + "  seals and opens\n"},
		{"sipio secret key use " + path + " " + first, "! sipio: " + path + " has no key \"" + first + "\"\nexit status 1\n"},
	}
	for _, step := range steps {
		if got := transcript(step.line); got != "$ "+step.line+"\n"+step.want {
			t.Errorf("got\n%s\nwant\n%s", got, step.want)
		}
	}
}
