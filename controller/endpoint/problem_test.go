package endpoint

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sipio/sipio/brain"
)

func TestProblem_CodeFitsTheStatus(t *testing.T) {
	// Proves that a program can tell from the code what the status says: what is not there is not_found, not invalid.
	for status, want := range map[int]brain.Code{
		http.StatusBadRequest: brain.EInvalid, http.StatusRequestEntityTooLarge: brain.EInvalid, http.StatusUnauthorized: brain.EUnauthorized,
		http.StatusForbidden: brain.EForbidden, http.StatusNotFound: brain.ENotFound, http.StatusServiceUnavailable: brain.EUnavailable,
		http.StatusInternalServerError: brain.EInternal,
	} {
		w := httptest.NewRecorder()
		(&Server{}).refuse(w, httptest.NewRequest(http.MethodGet, "/media/x", nil), badBody(status, countBadType, "text"))
		var p Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != status || p.Status != status || p.Code != want {
			t.Errorf("%d: %d %s, %v, want %s", status, w.Code, w.Body, err, want)
		}
	}
}
