"""Checkpoints: state dicts read inertly, converted networks in files, and what a conversion gives."""

from graphws.checkpoints.conversion import ActionCheck as ActionCheck
from graphws.checkpoints.conversion import Contents as Contents
from graphws.checkpoints.conversion import Conversion as Conversion
from graphws.checkpoints.conversion import Converter as Converter
from graphws.checkpoints.conversion import Hints as Hints
from graphws.checkpoints.conversion import OutputChoice as OutputChoice
from graphws.checkpoints.conversion import Reader as Reader
from graphws.checkpoints.example_inputs import example_inputs as example_inputs
from graphws.checkpoints.example_inputs import example_outputs as example_outputs
from graphws.checkpoints.network_file import is_network_file as is_network_file
from graphws.checkpoints.network_file import load_network as load_network
from graphws.checkpoints.network_file import save_network as save_network
from graphws.checkpoints.state_dict import Checkpoint as Checkpoint
from graphws.checkpoints.state_dict import read_checkpoint as read_checkpoint
from graphws.checkpoints.state_dict import read_state_dict as read_state_dict
