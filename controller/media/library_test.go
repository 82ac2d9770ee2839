package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sipio/sipio/brain"
	"github.com/sipio/sipio/controller/media/wav"
)

// humming is an engine that hums a second for each text and notes what it was asked.
type humming struct {
	mu    sync.Mutex
	asked []Speech
	fail  error
	hold  chan struct{}
}

func (h *humming) Name() string        { return "humming 1" }
func (h *humming) Languages() []string { return []string{"de", "en", "en-us", "sw"} }

func (h *humming) Speak(_ context.Context, s Speech) ([]byte, error) {
	h.mu.Lock()
	h.asked = append(h.asked, s)
	err := h.fail
	h.mu.Unlock()
	if h.hold != nil {
		<-h.hold
	}
	return wav.Encode(hum(wav.Rate, 0.3)), err
}

func (h *humming) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.asked)
}

func hum(samples int, amplitude float64) []float32 {
	out := make([]float32, samples)
	for i := range out {
		out[i] = float32(amplitude * math.Sin(2*math.Pi*440*float64(i)/wav.Rate))
	}
	return out
}

func account(language string) *brain.AccountConfig {
	return brain.NewAccountConfig(1, brain.AccountRows{
		Account: brain.Account{ID: "acc_1", Language: language, VoiceGender: Female},
		MediaFiles: []brain.MediaFile{
			{ID: "m_up", ObjectKey: "acc_1/media/m_up-1.wav", SHA256: strings.Repeat("a", 64), Bytes: 12},
			{ID: "m_text", Text: "Guten Tag", Language: "de-AT"},
			{ID: "m_empty"},
		},
		Playlists: []brain.MediaPlaylist{{ID: "p", MediaIDs: []string{"m_up", "m_empty", "m_text", "m_gone"}}, {ID: "p_none"}},
	})
}

func library(t *testing.T, e Engine) *Library {
	t.Helper()
	return NewLibrary(folderStore(t), e)
}

func TestResolve_EachKindOfSound(t *testing.T) {
	// Proves what each kind of sound becomes: uploaded files by their row alone, texts and prompts spoken by the engine in
	// the right language and gender, and what is missing or foreign an error with its code.
	e := &humming{}
	l := library(t, e)
	put(t, l.Store, "acc_1/vm/box/m.wav", "message")
	put(t, l.Store, "acc_2/vm/box/m.wav", "foreign")
	put(t, l.Store, "system/de/male/welcome.wav", "own recording")
	last := func() Speech { return e.asked[len(e.asked)-1] }
	for _, c := range []struct {
		sound brain.Sound
		keys  string // what each key begins with
		asked Speech // of the engine; zero: nothing
		code  brain.Code
	}{
		{sound: brain.Sound{MediaID: "m_up"}, keys: "acc_1/media/m_up-1.wav"},
		{sound: brain.Sound{MediaID: "m_text"}, keys: "tts/", asked: Speech{"Guten Tag", "de", Female, ""}},
		{sound: brain.Sound{MediaID: "m_empty"}, code: brain.ENotFound},
		{sound: brain.Sound{MediaID: "m_gone"}, code: brain.ENotFound},
		{sound: brain.Sound{PlaylistID: "p"}, keys: "acc_1/media/m_up-1.wav tts/"},
		{sound: brain.Sound{PlaylistID: "p_none"}, code: brain.ENotFound},
		{sound: brain.Sound{PlaylistID: "p_gone"}, code: brain.ENotFound},
		{sound: brain.Sound{Prompt: "welcome", Language: "de-CH"}, keys: "system/de/female/welcome.wav", asked: Speech{"Willkommen.", "de", Female, ""}},
		{sound: brain.Sound{Prompt: "welcome", Language: "de", Gender: Male}, keys: "system/de/male/welcome.wav"},
		{sound: brain.Sound{Prompt: "welcome", Language: "fr"}, keys: "system/en/female/welcome.wav", asked: Speech{"Welcome.", "en", Female, ""}},
		{sound: brain.Sound{Prompt: "digit-7", Language: "sw"}, keys: "system/sw/female/digit-7.wav", asked: Speech{"7", "sw", Female, ""}},
		{sound: brain.Sound{Prompt: "welcome", Language: "sw"}, keys: "system/en/female/welcome.wav"},
		{sound: brain.Sound{Prompt: "no-such"}, code: brain.ENotFound},
		{sound: brain.Sound{Prompt: "../x"}, code: brain.EInvalid},
		{sound: brain.Sound{Text: " Hello \n you ", Language: "en-US", Gender: Male, Voice: "v"}, keys: "tts/", asked: Speech{"Hello you", "en-us", Male, "v"}},
		{sound: brain.Sound{Text: "\x00 "}, code: brain.EInvalid},
		{sound: brain.Sound{Text: strings.Repeat("x", MaxText+1)}, code: brain.EInvalid},
		{sound: brain.Sound{Key: "acc_1/vm/box/m.wav"}, keys: "acc_1/vm/box/m.wav"},
		{sound: brain.Sound{Key: "acc_2/vm/box/m.wav"}, code: brain.ENotFound},
		{sound: brain.Sound{Key: "acc_1/vm/box/none.wav"}, code: brain.ENotFound},
		{sound: brain.Sound{Key: DefaultMusic}, keys: DefaultMusic},
		{sound: brain.Sound{}, code: brain.EInvalid},
	} {
		before := e.count()
		refs, err := l.Resolve(t.Context(), account("en-GB"), c.sound)
		if brain.CodeOf(err) != c.code {
			t.Errorf("%+v: %v", c.sound, err)
			continue
		}
		keys := strings.Fields(c.keys)
		if len(refs) != len(keys) {
			t.Errorf("%+v: %v", c.sound, refs)
			continue
		}
		for i, ref := range refs {
			if !strings.HasPrefix(ref.Key, keys[i]) || len(ref.SHA256) != 64 || ref.Bytes == 0 {
				t.Errorf("%+v: %+v", c.sound, ref)
			}
		}
		if c.asked != (Speech{}) && (e.count() != before+1 || last() != c.asked) {
			t.Errorf("%+v: the engine was asked %+v", c.sound, e.asked[before:])
		}
		if c.asked == (Speech{}) && e.count() != before {
			t.Errorf("%+v: the engine was asked again: %+v", c.sound, last())
		}
	}
}

func TestResolve_SpeaksEachTextOnce(t *testing.T) {
	// Proves that many calls that want one text at the same time make the engine speak it once, that a second library on
	// the same store does not ask at all, and that a change of the voice is another text.
	e := &humming{hold: make(chan struct{})}
	l := library(t, e)
	say := func(l *Library, gender string) string {
		refs, err := l.Resolve(t.Context(), account("en"), brain.Sound{Text: "hello", Gender: gender})
		if err != nil {
			t.Error(err)
			return ""
		}
		return refs[0].Key
	}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() { say(l, "") })
	}
	e.hold <- struct{}{}
	group.Wait()
	close(e.hold)
	if n := e.count(); n != 1 {
		t.Errorf("spoken %d times", n)
	}
	again := &humming{}
	if say(NewLibrary(l.Store, again), "") != say(l, "") || again.count() != 0 {
		t.Error("another library spoke it again")
	}
	if say(l, Male) == say(l, Female) {
		t.Error("both genders have one key")
	}
}

func TestResolve_WithoutEngineHearsWhatIsThere(t *testing.T) {
	// Proves that an engine that fails, or none, is told as unavailable or a fault, and silences no prompt that is in the store.
	e := &humming{fail: errors.New("out of breath")}
	l := library(t, e)
	put(t, l.Store, "system/en/female/invalid.wav", "there")
	if _, err := l.Resolve(t.Context(), account("de"), brain.Sound{Prompt: "invalid"}); err != nil {
		t.Errorf("a prompt that is there in another language: %v", err)
	}
	if _, err := l.Resolve(t.Context(), account("en"), brain.Sound{Text: "x"}); err == nil || !strings.Contains(err.Error(), "out of breath") {
		t.Errorf("failing engine: %v", err)
	}
	l = NewLibrary(l.Store, nil)
	if _, err := l.Resolve(t.Context(), account("en"), brain.Sound{Prompt: "invalid"}); err != nil {
		t.Errorf("without an engine: %v", err)
	}
	if _, err := l.Resolve(t.Context(), account("en"), brain.Sound{Text: "x"}); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("without an engine: %v", err)
	}
}

func TestSpeaker_QueueIsBounded(t *testing.T) {
	// Proves that no more than maxWaiting texts wait for an engine that has stopped; the next is told so at once.
	e := &humming{hold: make(chan struct{})}
	l := library(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for i := range maxWaiting {
		group.Go(func() {
			_, _ = l.Resolve(ctx, account("en"), brain.Sound{Text: strings.Repeat("x", i+1)})
		})
	}
	full := func() bool {
		l.speaker.mu.Lock()
		defer l.speaker.mu.Unlock()
		return l.speaker.waiting == maxWaiting
	}
	for deadline := time.Now().Add(10 * time.Second); !full(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the queue did not fill")
		}
	}
	if _, err := l.Resolve(ctx, account("en"), brain.Sound{Text: "one more"}); brain.CodeOf(err) != brain.EUnavailable {
		t.Errorf("one more: %v", err)
	}
	cancel()
	group.Wait()
	close(e.hold)
}

func TestUpload_IsKeptAsTheTelephoneNeedsIt(t *testing.T) {
	// Proves that an upload is stored at 8 kHz with its duration under a key of its content, and that what is no WAV, or
	// too large, is refused and stored nowhere.
	l := library(t, nil)
	stereo := wav.Encode(hum(4*wav.Rate, 0.3)) // read as two channels at 16 kHz: one second
	binary.LittleEndian.PutUint16(stereo[22:], 2)
	binary.LittleEndian.PutUint32(stereo[24:], 16000)
	up, err := l.Upload(t.Context(), "acc_1", "m1", bytes.NewReader(stereo))
	if err != nil || up.Format != "wav" || up.DurationMS != 1000 || up.Ref.Bytes != 44+2*wav.Rate || !strings.HasPrefix(up.Ref.Key, "acc_1/media/m1-") {
		t.Errorf("%+v, %v", up, err)
	}
	other, err := l.Upload(t.Context(), "acc_1", "m1", bytes.NewReader(wav.Encode(hum(100, 0.3))))
	if err != nil || other.Ref.Key == up.Ref.Key {
		t.Errorf("new content under the old key: %+v, %v", other, err)
	}
	large := append(wav.Encode(nil)[:40], 0xFF, 0xFF, 0xFF, 0xFF)
	endless := &zeros{head: large}
	for name, r := range map[string]interface{ Read([]byte) (int, error) }{
		"mp3": strings.NewReader("ID3\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00"), "too large": endless} {
		if _, err := l.Upload(t.Context(), "acc_1", "m2", r); brain.CodeOf(err) != brain.EInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for e, err := range l.Store.List(t.Context(), "acc_1/media/m2") {
		t.Errorf("stored %v, %v", e, err)
	}
}

// zeros is a head and then silence without end.
type zeros struct{ head []byte }

func (z *zeros) Read(p []byte) (int, error) {
	n := copy(p, z.head)
	z.head = z.head[n:]
	clear(p[n:])
	return len(p), nil
}

func TestSweep_DeletesOldRecordingsAndTellsEachFirst(t *testing.T) {
	// Proves that recordings older than the retention are told and then deleted, nothing else of the account or of others,
	// and that a deletion that cannot be told does not happen.
	everywhere(t, func(t *testing.T, s *Store) {
		l := NewLibrary(s, nil)
		l.Now = func() time.Time { return time.Date(2026, 3, 31, 12, 0, 0, 0, time.UTC) }
		old := []string{"acc_1/rec/2026-02-01/a.wav", "acc_1/rec/2026-02-27/b.wav"}
		kept := []string{"acc_1/rec/2026-02-28/c.wav", "acc_1/rec/2026-03-31/d.wav", "acc_1/vm/2026-01-01/e.wav", "acc_2/rec/2026-01-01/f.wav"}
		for _, key := range append(slices.Clone(old), kept...) {
			put(t, s, key, "x")
		}
		deaf := errors.New("the audit is full")
		if n, err := l.Sweep(t.Context(), "acc_1", 30, func(context.Context, Entry) error { return deaf }); n != 0 || !errors.Is(err, deaf) {
			t.Errorf("untold: %d, %v", n, err)
		}
		var told []string
		tell := func(ctx context.Context, e Entry) error {
			if _, err := s.Stat(ctx, e.Key); err != nil {
				t.Errorf("told after it was gone: %v", err)
			}
			told = append(told, e.Key)
			return nil
		}
		if n, err := l.Sweep(t.Context(), "acc_1", 0, tell); n != 0 || err != nil {
			t.Errorf("without retention: %d, %v", n, err)
		}
		if n, err := l.Sweep(t.Context(), "acc_1", 30, tell); n != 2 || err != nil || !slices.Equal(told, old) {
			t.Errorf("%d, %v, told %v", n, err, told)
		}
		var left []string
		for e := range s.List(t.Context(), "") {
			left = append(left, e.Key)
		}
		if !slices.Equal(left, kept) {
			t.Errorf("left %v", left)
		}
	})
}

func TestCatalogue_IsCompleteInEachLanguage(t *testing.T) {
	// Proves that each language has the prompts that English has, each with words.
	if n := len(PromptLanguages()); n < 19 {
		t.Errorf("%d languages", n)
	}
	for _, tag := range PromptLanguages() {
		for id := range catalogue()["en"] {
			if len(strings.TrimSpace(PromptText(tag, id))) < 3 {
				t.Errorf("%s: no text for %s", tag, id)
			}
		}
		if len(catalogue()[tag]) != len(catalogue()["en"]) {
			t.Errorf("%s has prompts that English lacks", tag)
		}
	}
}

func TestPrepare_MakesWhatIsMissingOnce(t *testing.T) {
	// Proves that all prompts of the languages asked for are there after Prepare, that a second run speaks nothing, and
	// that failures are counted and do not end it.
	e := &humming{}
	l := library(t, e)
	want := 1 + 2*(len(catalogue()["de"])+10) + 2*10
	got, err := l.Prepare(t.Context(), []string{"de", "sw", "de"})
	if err != nil || got.There != want || e.count() != want-1 {
		t.Errorf("%+v, %v, spoken %d, want %d", got, err, e.count(), want)
	}
	if got, err = l.Prepare(t.Context(), []string{"de", "sw"}); err != nil || got.There != want || e.count() != want-1 {
		t.Errorf("again: %+v, %v, spoken %d", got, err, e.count())
	}
	e.fail = errors.New("hoarse")
	if got, err = l.Prepare(t.Context(), []string{"en"}); err == nil || got.There != 1 || got.Failed == 0 {
		t.Errorf("failing: %+v, %v", got, err)
	}
	if _, err = l.Prepare(t.Context(), []string{"../x"}); brain.CodeOf(err) != brain.EInvalid {
		t.Errorf("no language: %v", err)
	}
}

func TestMusic_IsHeardAllThrough(t *testing.T) {
	// Proves by level that the music is never silent or loud, and that its end leads into its beginning without a click.
	samples := music()
	if got := wav.DurationMS(len(samples)); got != musicSec*1000 {
		t.Fatalf("%d ms", got)
	}
	for at := 0; at+wav.Rate <= len(samples); at += wav.Rate {
		if level := wav.Level(samples[at : at+wav.Rate]); level < -40 || level > -15 {
			t.Errorf("second %d: %.1f dBFS", at/wav.Rate, level)
		}
	}
	step := 0.0
	for i := 1; i < len(samples); i++ {
		step = max(step, math.Abs(float64(samples[i]-samples[i-1])))
	}
	if seam := math.Abs(float64(samples[0] - samples[len(samples)-1])); seam > step {
		t.Errorf("the seam jumps by %g, nothing else by more than %g", seam, step)
	}
}

func espeak(t *testing.T) *Espeak {
	t.Helper()
	if _, err := exec.LookPath("espeak-ng"); err != nil {
		t.Fatal("espeak-ng is not installed: deploy/install-packages.sh")
	}
	e, err := OpenEspeak(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEspeak_SpeaksEveryLanguageOfTheCatalogue(t *testing.T) {
	// Proves by ear that the real engine says a sentence in each language of the catalogue: seconds long, as loud as all
	// prompts; that the genders differ in sound, and that text is never taken as an option, a path or markup.
	e := espeak(t)
	l := library(t, e)
	heard := func(s brain.Sound) []float32 {
		t.Helper()
		refs, err := l.Resolve(t.Context(), account("en"), s)
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		samples, err := wav.Decode(strings.NewReader(content(t, l.Store, refs[0].Key)))
		if err != nil {
			t.Fatalf("%+v: %v", s, err)
		}
		return samples
	}
	for _, tag := range PromptLanguages() {
		if !slices.Contains(e.Languages(), tag) {
			t.Errorf("the engine does not speak %s", tag)
			continue
		}
		samples := heard(brain.Sound{Prompt: "vm-greeting", Language: tag})
		ms, level := wav.DurationMS(len(samples)), wav.Level(samples)
		t.Logf("%s: %d ms, %.1f dBFS", tag, ms, level)
		if ms < 2000 || ms > 12000 || level < -24 || level > -18 {
			t.Errorf("%s: %d ms at %.1f dBFS", tag, ms, level)
		}
	}
	for _, tag := range e.Languages() {
		if len(heard(brain.Sound{Prompt: "digit-5", Language: tag})) == 0 {
			t.Errorf("%s has no digits", tag)
		}
	}
	if male, female := heard(brain.Sound{Text: "hello", Gender: Male}), heard(brain.Sound{Text: "hello", Gender: Female}); slices.Equal(male, female) {
		t.Error("both genders sound alike")
	}
	for _, text := range []string{"--version", "-f /etc/passwd", "[[he]] <break time='9s'/>", "100 €"} {
		if ms := wav.DurationMS(len(heard(brain.Sound{Text: text}))); ms < 200 || ms > 8000 {
			t.Errorf("%q: %d ms", text, ms)
		}
	}
	for _, voice := range []string{"-x", "../../etc/passwd", "en;x", "qqqq"} {
		if _, err := l.Resolve(t.Context(), account("en"), brain.Sound{Text: "x", Voice: voice}); err == nil {
			t.Errorf("voice %q was taken", voice)
		}
	}
}

func TestRemote_AsksOnceAndBelievesOnlySounds(t *testing.T) {
	// Proves that the HTTP engine sends text and secret as its templates say, that redirects, errors and answers that are
	// no sound become errors without the text in them, and that the secret is never sent in the clear off this machine.
	var seen []string
	answer := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		seen = append(seen, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+body.String())
		if answer == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(answer)
		if r.URL.Path == "/noise" {
			_, _ = w.Write([]byte("not a sound"))
			return
		}
		_, _ = w.Write(wav.Encode(hum(wav.Rate, 0.2)))
	}))
	defer server.Close()
	speak := func(path, body string) error {
		e, err := NewRemote(server.URL+path, body, " geheim\n")
		if err != nil {
			t.Fatal(err)
		}
		_, err = newSpeaker(e).say(t.Context(), Speech{Text: `a "b" & c`, Language: "de", Gender: Male})
		return err
	}
	if err := speak("/v1?l={{.Language}}&t={{query .Text}}", ""); err != nil {
		t.Error(err)
	}
	if err := speak("/v1", `{"text":{{json .Text}}}`); err != nil {
		t.Error(err)
	}
	want := []string{`GET /v1?l=de&t=a+%22b%22+%26+c Bearer geheim `, `POST /v1 Bearer geheim {"text":"a \"b\" \u0026 c"}`}
	if !slices.Equal(seen, want) {
		t.Errorf("asked %q", seen)
	}
	if err := speak("/noise", ""); !errors.Is(err, wav.ErrFormat) {
		t.Errorf("noise: %v", err)
	}
	for _, answer = range []int{http.StatusFound, http.StatusInternalServerError} {
		if err := speak("/v1?t={{query .Text}}", ""); err == nil || strings.Contains(err.Error(), "%22b") {
			t.Errorf("%d: %v", answer, err)
		}
	}
	for _, bad := range []string{"http://tts.example/", "ftp://127.0.0.1/", "https://x/{{.No}}", "https://x/{{"} {
		if _, err := NewRemote(bad, "", ""); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
