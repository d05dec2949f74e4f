// A KVS WebRTC master on Pion: plays an H.264 file and an Ogg Opus file to every viewer that offers.
//
//	AWS_REGION=... AWS_ENDPOINT_URL_KINESIS_VIDEO=... pion -channel NAME [-video FILE.h264] [-audio FILE.ogg]
//
// Standard output has one JSON object a line (tests/src/stranger.rs). A line "end" on standard input ends the media, and
// the end of standard input ends the program.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pion/dtls/v3"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

var (
	channelName = flag.String("channel", "", "the channel's name")
	video       = flag.String("video", "", "an H.264 byte stream with access unit delimiters")
	audio       = flag.String("audio", "", "an Ogg Opus file with a packet a page")
	videoOnly   = flag.Bool("no-audio-codec", false, "know no audio codec")
	undeclared  = flag.Bool("no-ssrc", false, "leave a=ssrc out of the answer")
	role        = flag.String("dtls", "", "active or passive")
	plainMaster = flag.Bool("no-extended-master-secret", false, "DTLS without RFC 7627")
	data        = flag.Bool("data", false, "send the number of each fifteenth frame over data channels, this side's and the viewer's")
	most        = flag.Int("frames", 0, "close the peer connection after so many frames")
)

var saying sync.Mutex

func say(event string, connection, number int) {
	saying.Lock()
	defer saying.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(struct {
		Event      string `json:"event"`
		Connection int    `json:"connection"`
		Number     int    `json:"number"`
	}{event, connection, number})
}

func newAPI() (*webrtc.API, error) {
	engine, registry, settings := &webrtc.MediaEngine{}, &interceptor.Registry{}, webrtc.SettingEngine{}
	if *videoOnly {
		feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}}
		parameters := webrtc.RTPCodecParameters{PayloadType: 102, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeH264, ClockRate: 90000, RTCPFeedback: feedback,
			SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		}}
		if err := engine.RegisterCodec(parameters, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, err
		}
	} else if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		return nil, err
	}
	registry.Add(oddSender{})
	settings.SetIncludeLoopbackCandidate(true)
	if *role != "" {
		answering := map[string]webrtc.DTLSRole{"active": webrtc.DTLSRoleClient, "passive": webrtc.DTLSRoleServer}[*role]
		if err := settings.SetAnsweringDTLSRole(answering); err != nil {
			return nil, err
		}
	}
	if *plainMaster {
		settings.SetDTLSExtendedMasterSecret(dtls.DisableExtendedMasterSecret)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry),
		webrtc.WithSettingEngine(settings)), nil
}

// session is one viewer's peer connection.
type session struct {
	number       int
	connection   *webrtc.PeerConnection
	audio, video *webrtc.TrackLocalStaticSample
	// The viewer asked for a key frame.
	keyWanted atomic.Bool
	// Nothing more is to be sent to it.
	gone    atomic.Bool
	playing sync.WaitGroup

	lock sync.Mutex
	// Data channels that are open.
	channels []*webrtc.DataChannel
}

func (s *session) open(channel *webrtc.DataChannel) {
	channel.OnOpen(func() {
		s.lock.Lock()
		defer s.lock.Unlock()
		s.channels = append(s.channels, channel)
	})
}

// sent tells of a frame, also over the data channels.
func (s *session) sent(number int) {
	say("frame", s.number, number)
	if number%15 != 0 {
		return
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, channel := range s.channels {
		if channel.SendText(strconv.Itoa(number)) == nil {
			say("message-"+channel.Label(), s.number, number)
		}
	}
}

// track adds one of this kind.
func (s *session) track(mime, kind string) (*webrtc.TrackLocalStaticSample, error) {
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: mime}, kind, "pion")
	if err != nil {
		return nil, err
	}
	sender, err := s.connection.AddTrack(track)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			packets, _, err := sender.ReadRTCP()
			if err != nil {
				return
			}
			for _, packet := range packets {
				switch packet.(type) {
				case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
					s.keyWanted.Store(true)
				}
			}
		}
	}()
	return track, nil
}

func (s *session) play(p *player) {
	p.playing.Lock()
	defer p.playing.Unlock()
	if s.audio != nil {
		s.playing.Add(1)
		go func() {
			defer s.playing.Done()
			p.playAudio(s.audio, &s.gone)
		}()
	}
	if s.video != nil {
		p.playVideo(s.video, &s.keyWanted, &s.gone, *most, s.sent)
	}
	if *most > 0 {
		s.gone.Store(true)
		s.playing.Wait()
		_ = s.connection.Close()
		say("closed", s.number, 0)
	}
	s.playing.Wait()
}

type master struct {
	api     *webrtc.API
	channel *channel
	player  player
	offers  int
	// One for each viewer that is played to.
	playing sync.WaitGroup

	lock     sync.Mutex
	sessions map[string]*session
	// The one that is played to; it makes way for the next.
	current *session
}

func (m *master) session(viewer string) *session {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.sessions[viewer]
}

func (m *master) play(s *session) {
	m.lock.Lock()
	if m.current != nil {
		m.current.gone.Store(true)
	}
	m.current = s
	m.lock.Unlock()
	s.play(&m.player)
}

func (m *master) close() {
	m.lock.Lock()
	defer m.lock.Unlock()
	for _, session := range m.sessions {
		_ = session.connection.Close()
	}
}

func (m *master) handle(received message) error {
	switch received.Type {
	case "SDP_OFFER":
		var offer webrtc.SessionDescription
		if err := json.Unmarshal(received.Payload, &offer); err != nil {
			return err
		}
		return m.answer(received.Viewer, offer)
	case "ICE_CANDIDATE":
		var candidate webrtc.ICECandidateInit
		if err := json.Unmarshal(received.Payload, &candidate); err != nil {
			return err
		}
		if session := m.session(received.Viewer); session != nil && !session.gone.Load() {
			return session.connection.AddICECandidate(candidate)
		}
	}
	return nil
}

func (m *master) answer(viewer string, offer webrtc.SessionDescription) error {
	m.offers++
	s := &session{number: m.offers}
	say("offer", s.number, 0)
	connection, err := m.api.NewPeerConnection(webrtc.Configuration{ICEServers: m.channel.servers})
	if err != nil {
		return err
	}
	s.connection = connection
	m.lock.Lock()
	m.sessions[viewer] = s
	m.lock.Unlock()
	connection.OnICECandidate(func(candidate *webrtc.ICECandidate) {
		if candidate != nil {
			_ = m.channel.send("ICE_CANDIDATE", viewer, candidate.ToJSON())
		}
	})
	// Until it is known not to connect, or all is played.
	m.playing.Add(1)
	var once sync.Once
	connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			say("connected", s.number, 0)
			once.Do(func() {
				go func() {
					defer m.playing.Done()
					m.play(s)
				}()
			})
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			s.gone.Store(true)
			once.Do(m.playing.Done)
		}
	})
	if *video != "" {
		if s.video, err = s.track(webrtc.MimeTypeH264, "video"); err != nil {
			return err
		}
	}
	if *audio != "" {
		if s.audio, err = s.track(webrtc.MimeTypeOpus, "audio"); err != nil {
			return err
		}
	}
	if *data {
		connection.OnDataChannel(s.open)
		channel, err := connection.CreateDataChannel("numbers", nil)
		if err != nil {
			return err
		}
		s.open(channel)
	}
	if err := connection.SetRemoteDescription(offer); err != nil {
		return err
	}
	answer, err := connection.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := connection.SetLocalDescription(answer); err != nil {
		return err
	}
	if *undeclared {
		var kept []string
		for _, line := range strings.SplitAfter(answer.SDP, "\n") {
			if !strings.HasPrefix(line, "a=ssrc") {
				kept = append(kept, line)
			}
		}
		answer.SDP = strings.Join(kept, "")
	}
	log.Printf("answer to %s:\n%s", viewer, answer.SDP)
	return m.channel.send("SDP_ANSWER", viewer, answer)
}

func run() error {
	flag.Parse()
	m := &master{sessions: map[string]*session{}}
	var err error
	if *video != "" {
		if m.player.video, err = accessUnits(*video); err != nil {
			return fmt.Errorf("%s: %w", *video, err)
		}
	}
	if *audio != "" {
		if m.player.audio, err = opusPackets(*audio); err != nil {
			return fmt.Errorf("%s: %w", *audio, err)
		}
	}
	if m.api, err = newAPI(); err != nil {
		return err
	}
	if m.channel, err = connect(*channelName); err != nil {
		return err
	}
	say("ready", 0, 0)
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			if lines.Text() == "end" {
				m.player.ended.Store(true)
				m.playing.Wait()
				say("ended", 0, 0)
			}
		}
		m.close()
		os.Exit(0)
	}()
	for {
		received, err := m.channel.receive()
		if err != nil {
			return err
		}
		if err := m.handle(received); err != nil {
			return fmt.Errorf("%s of %s: %w", received.Type, received.Viewer, err)
		}
	}
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
