import argparse

import pytest

from napari_cas.cli import options
from napari_cas.config import Config
from napari_cas.errors import ConfigError


def parse(*words):
    parser = argparse.ArgumentParser()
    options.add_options(parser)
    return parser.parse_args(words)


def test_every_setting_has_one_option_of_its_own():
    flags = [setting.flag for setting in options.settings()]
    assert len(flags) == len(set(flags))
    assert {"--network", "--channels", "--alpha", "--learning-rate", "--seed"} <= set(flags)


def test_nothing_given_changes_nothing():
    config = Config(seed=7)
    assert options.apply(config, parse()) == config


def test_options_go_where_their_fields_are():
    words = "--channels 4 --alpha 0.5 --discriminator squared --learning-rate 0.01 --seed 3"
    config = options.apply(Config(), parse(*words.split()))
    assert config.model.channels == 4
    assert config.loss.alpha == 0.5
    assert config.loss.discriminator == "squared"
    assert config.fit.learning_rate == 0.01
    assert config.seed == 3


@pytest.mark.parametrize(("word", "value"), [("true", True), ("false", False)])
def test_yes_or_no_is_typed_as_a_word(word, value):
    config = options.apply(Config(), parse("--follow-edges", word))
    assert config.predict.follow_edges is value


@pytest.mark.parametrize(
    ("words", "flag"), [("--channels 1", "--channels"), ("--alpha 1.5", "--alpha")]
)
def test_a_value_out_of_range_names_the_option(words, flag):
    with pytest.raises(ConfigError, match=flag):
        options.apply(Config(), parse(*words.split()))


def test_help_says_range_words_and_default():
    parser = argparse.ArgumentParser()
    options.add_options(parser)
    text = " ".join(parser.format_help().split())
    assert "Weight of the uniformer" in text
    assert "Default: 0.9" in text
