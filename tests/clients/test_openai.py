"""The official OpenAI client, through the proxy, against mock backends."""

import openai
import pytest

HELLO = [{"role": "user", "content": 'say "model": "none" please'}]
SLOW = {"tokens": 10, "token_ms": 60}


def test_a_chat_is_answered_by_the_backend_of_its_model(openai_client, model_a, model_b):
    answered = {}
    for model in (model_a, model_b):
        raw = openai_client.chat.completions.with_raw_response.create(model=model, messages=HELLO)
        answer = raw.parse()
        assert answer.model == model
        assert answer.choices[0].message.content.startswith("tok0 tok1 ")
        assert raw.headers["x-request-id"]
        answered[model] = raw.headers["x-mock-name"]
    assert answered[model_a] != answered[model_b]


def test_a_stream_arrives_event_by_event(openai_client, model_a, arrivals, one_by_one):
    stream = openai_client.chat.completions.create(model=model_a, messages=HELLO, stream=True, extra_query=SLOW)
    seen = [(at, event.choices[0]) for at, event in arrivals(stream)]
    texts = [(at, choice.delta.content) for at, choice in seen if choice.delta.content]
    assert [text for _, text in texts] == [f"tok{number} " for number in range(10)]
    assert seen[-1][1].finish_reason == "stop"
    one_by_one([at for at, _ in texts], 0.06)


def test_a_stream_can_end_with_its_usage(openai_client, model_a):
    stream = openai_client.chat.completions.create(
        model=model_a, messages=HELLO, stream=True, stream_options={"include_usage": True}, max_tokens=3
    )
    assert list(stream)[-1].usage.completion_tokens == 3


def test_plain_completions(openai_client, model_b):
    assert openai_client.completions.create(model=model_b, prompt="x").choices[0].text.startswith("tok0 ")
    stream = openai_client.completions.create(model=model_b, prompt="x", stream=True, max_tokens=4)
    assert "".join(event.choices[0].text for event in stream) == "tok0 tok1 tok2 tok3 "


def test_responses(openai_client, model_b):
    answer = openai_client.responses.create(model=model_b, input="x", max_output_tokens=2)
    assert answer.output_text == "tok0 tok1 "
    stream = openai_client.responses.create(model=model_b, input="x", stream=True)
    kinds = [event.type for event in stream]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert "response.output_text.delta" in kinds


def test_embeddings(openai_client, model_b):
    answer = openai_client.embeddings.create(model=model_b, input=["one", "two"])
    assert [item.embedding for item in answer.data] == [[0.5, -0.25, 0.125, 1.0]] * 2


def test_the_model_list_keeps_what_the_backends_said(openai_client, model_a, model_b):
    models = {model.id: model for model in openai_client.models.list()}
    assert {model_a, model_b} <= set(models)
    assert list(models) == sorted(models)
    assert models[model_a].object == "model"
    assert models[model_a].max_model_len == 4096
    assert models[model_a].meta["n_params"] == 1000


def test_one_model_is_retrieved_by_its_id(openai_client, http, model_a, model_b):
    assert openai_client.models.retrieve(model_a).id == model_a
    assert openai_client.models.retrieve(model_b).root == model_b
    # Older clients do not escape the slash of an id.
    assert http.get(f"/v1/models/{model_b}").json()["id"] == model_b
    with pytest.raises(openai.NotFoundError):
        openai_client.models.retrieve("nobody/has-this")


@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_recording_is_sent_whole(openai_client, model_b, size):
    answer = openai_client.audio.transcriptions.create(model=model_b, file=("a ä.wav", b"\r\n--x" * (size // 5)))
    received = int(answer.text.split()[1])
    assert size < received < size + 2000


def test_the_whole_request_is_passed_on_as_it_was_sent(http, model_a):
    body = b'{ "messages":[],\n\t"model" : "%s", "n":1.50 }' % model_a.encode()
    answer = http.post(
        "/v1/echo/a%2Fb//c?x=%20y&x", content=body, headers={"content-type": "application/json", "X-Own": "1"}
    ).json()
    assert answer["target"] == "/v1/echo/a%2Fb//c?x=%20y&x"
    assert answer["body"] == body.decode()
    assert "1" in [value for name, value in answer["headers"] if name.lower() == "x-own"]


def test_an_unknown_model_is_not_found(openai_client):
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.chat.completions.create(model="nobody/has-this", messages=HELLO)
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id


@pytest.mark.parametrize(
    "body, code",
    [
        (b'{"messages":[]}', "missing_model"),
        (b'{"model":"","messages":[]}', "invalid_model"),
        (b'{"model":7}', "invalid_model"),
        (b'{"model":"a","model":"b"}', "ambiguous_model"),
        (b"model=a", "invalid_body"),
    ],
)
def test_a_request_without_a_sane_model_is_refused(http, body, code):
    answer = http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"] and error["type"]


def test_a_backend_error_is_passed_on(openai_client, model_a):
    with pytest.raises(openai.InternalServerError) as caught:
        openai_client.chat.completions.create(model=model_a, messages=HELLO, extra_query={"status": 500})
    assert "failed as asked" in caught.value.message


def test_a_stream_that_breaks_off_is_an_exception(openai_client, model_a, breaks_off):
    stream = openai_client.chat.completions.create(
        model=model_a, messages=HELLO, stream=True, extra_query={"tokens": 10, "cut_after": 3, "token_ms": 100}
    )
    texts = [event.choices[0].delta.content for event in breaks_off(stream)]
    assert texts[-1] == "tok2 ", "what came before the break is delivered"


def test_events_right_before_a_break_are_delivered(openai_client, model_a, breaks_off):
    stream = openai_client.chat.completions.create(
        model=model_a, messages=HELLO, stream=True, extra_query={"tokens": 10, "cut_after": 3, "token_ms": 0}
    )
    texts = [event.choices[0].delta.content for event in breaks_off(stream)]
    assert texts[-1] == "tok2 ", "the backend sent it, and the break came after it"
