"""Both official clients, through the proxy, against a real llama.cpp server with a tiny model."""

from concurrent.futures import ThreadPoolExecutor

HELLO = [{"role": "user", "content": "hello"}]


def test_the_list_keeps_what_llama_cpp_says_of_its_model(openai_client, llama_model):
    model = openai_client.models.retrieve(llama_model)
    assert model.owned_by == "llamacpp"
    assert model.meta["n_ctx_train"] == 4096


def test_a_chat(openai_client, llama_model):
    answer = openai_client.chat.completions.create(model=llama_model, messages=HELLO, max_tokens=8)
    assert answer.usage.completion_tokens == 8


def test_a_stream(openai_client, llama_model):
    stream = openai_client.chat.completions.create(model=llama_model, messages=HELLO, max_tokens=16, stream=True)
    events = list(stream)
    assert len(events) > 8
    assert [event.choices[0].finish_reason for event in events if event.choices][-1] == "length"


def test_messages(anthropic_client, llama_model):
    answer = anthropic_client.messages.create(model=llama_model, messages=HELLO, max_tokens=8)
    assert answer.usage.output_tokens == 8
    stream = anthropic_client.messages.create(model=llama_model, messages=HELLO, max_tokens=8, stream=True)
    kinds = [event.type for event in stream]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
    assert anthropic_client.messages.count_tokens(model=llama_model, messages=HELLO).input_tokens > 3


def test_more_requests_than_llama_cpp_takes_on_one_connection(openai_client, llama_model):
    # It closes a connection after about a hundred requests: none of them may be lost at the seam.
    for _ in range(130):
        answer = openai_client.chat.completions.create(model=llama_model, messages=HELLO, max_tokens=1)
        assert answer.usage.completion_tokens == 1


def test_requests_side_by_side(openai_client, llama_model):
    def ask(_):
        stream = openai_client.chat.completions.create(model=llama_model, messages=HELLO, max_tokens=32, stream=True)
        return [event.choices[0].finish_reason for event in stream if event.choices][-1]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(24))) == {"length"}
