package nodeagent

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/sipio/sipio/brain/api"
)

// A report of live dialogs arrives as it is, at the next brain when the first one is away; one that is larger
// than a brain reads is an error, and nobody is asked to take it.
func TestPostDialogs_DeliversTheWholeReport(t *testing.T) {
	posts := 0
	var got api.DialogReport
	brain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		posts++
		if r.URL.Path != api.PathDialogs || r.Header.Get("Authorization") != "Bearer key" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		_, _ = fmt.Fprintf(w, `{"seq":%d}`, got.Seq)
	}))
	defer brain.Close()
	away := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer away.Close()
	r := newReporter([]string{away.URL, brain.URL}, "key", nil)
	report := api.DialogReport{Node: "edge1", Boot: "1-2", BootMS: 1, Seq: 7, TakenMS: 2}
	for i := range 36_000 {
		report.Dialogs = append(report.Dialogs, api.Dialog{AccountID: "acc", Token: fmt.Sprint(i), CallID: fmt.Sprint("c", i), SinceMS: 1})
	}
	report.Count = len(report.Dialogs)
	if err := r.postDialogs(t.Context(), report); err != nil || !reflect.DeepEqual(got, report) {
		t.Errorf("%v; %d dialogs came", err, len(got.Dialogs))
	}
	report.Dialogs[0].From = strings.Repeat("x", api.MaxReport)
	if err := r.postDialogs(t.Context(), report); err == nil || posts != 1 {
		t.Errorf("too large: %v, posted %d times", err, posts)
	}
}
